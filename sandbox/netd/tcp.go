//go:build linux

package netd

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"time"

	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// acceptTCP connects on the host first and accepts only then: the program sees
// the refusal, the unreachable network or the time-out that the host saw.
func (n *nat) acceptTCP(r *tcp.ForwarderRequest) {
	id := r.ID()
	dst := netip.AddrPortFrom(toAddr(id.LocalAddress), id.LocalPort)
	host, err := n.dial(dst)
	syn := n.syns.forget(id)
	if err != nil {
		n.refuseTCP(r, syn, err)
		return
	}
	client := netip.AddrPortFrom(toAddr(id.RemoteAddress), id.RemotePort)
	n.shape.handshake(client, dst)
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil { // the program gave up meanwhile
		host.reset()
		r.Complete(true)
		return
	}
	r.Complete(false)
	n.relay(ep, &wq, host, client, dst)
}

// dial connects to where dst lies outside. Servers of the host that listen on
// ::1 only are reached as 127.0.0.1 too: names like localhost mean both.
func (n *nat) dial(dst netip.AddrPort) (*hostConn, error) {
	out := n.outside(dst)
	c, err := dialTCP(out)
	if err != nil && errors.Is(err, unix.ECONNREFUSED) && out.Addr() == subnet.Local4 {
		if c6, err6 := dialTCP(netip.AddrPortFrom(subnet.Local6, out.Port())); err6 == nil {
			return c6, nil
		}
	}
	return c, err
}

// refuseTCP answers a connection that the host could not make.
func (n *nat) refuseTCP(r *tcp.ForwarderRequest, syn []byte, err error) {
	errno, _ := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.ETIMEDOUT:
		r.Complete(false) // silence: the program's own timer runs out as well
		return
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EPERM, unix.ENOPROTOOPT, unix.EHOSTDOWN:
		if p, ok := parsePacket(padQuote(syn)); ok {
			n.sendUnreachable(&p, errno)
			r.Complete(false)
			return
		}
	}
	r.Complete(true) // RST
}

// relay copies both ways, each with its own end, until both have ended.
func (n *nat) relay(ep tcpip.Endpoint, wq *waiter.Queue, host *hostConn, client, server netip.AddrPort) {
	ep.SocketOptions().SetDelayOption(false)
	f := n.shape.open(client, server, ep, host)
	defer f.end()
	done := make(chan struct{})
	go func() {
		toSandbox(ep, wq, host, f)
		close(done)
	}()
	n.uploads.add(ep)
	toHost(ep, wq, host, f)
	n.uploads.remove(ep)
	<-done
	host.close()
	ep.Close()
}

// toHost copies what the program sends. gVisor's buffers are written to the
// socket directly.
func toHost(ep tcpip.Endpoint, wq *waiter.Queue, host *hostConn, f *stream) {
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	w := &hostWriter{c: host}
	for {
		w.err, w.n, w.max = nil, 0, f.permit(readable)
		_, err := ep.Read(w, tcpip.ReadOptions{})
		if w.max > 0 {
			f.sent(w.n)
		}
		switch {
		case w.err == errPiece:
			continue
		case w.err == unix.EAGAIN:
			if host.writable() != nil {
				return
			}
			continue
		case w.err != nil: // the peer is gone; toSandbox delivers what it sent and tells the program
			return
		}
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-readable
		case *tcpip.ErrClosedForReceive: // FIN
			host.closeWrite()
			return
		default: // RST
			host.reset()
			return
		}
	}
}

// hostWriter remembers the error that gVisor would replace.
type hostWriter struct {
	c      *hostConn
	err    error
	n, max int // bytes written, and how many may be; max 0: all
}

var errPiece = errors.New("netd: no more than a piece may be sent")

func (w *hostWriter) Write(b []byte) (int, error) {
	rest := false
	if w.max > 0 && len(b) > w.max-w.n {
		b, rest = b[:w.max-w.n], true
	}
	n, err := w.c.Write(b)
	w.n += n
	if err == nil && rest {
		err = errPiece
	}
	w.err = err
	return n, err
}

// toSandbox copies what the peer sends.
func toSandbox(ep tcpip.Endpoint, wq *waiter.Queue, host *hostConn, f *stream) {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	var r bytes.Reader
	write := func(b []byte) error {
		r.Reset(b)
		for r.Len() > 0 {
			_, err := ep.Write(&r, tcpip.WriteOptions{})
			switch err.(type) {
			case nil:
			case *tcpip.ErrWouldBlock:
				<-writable
			default:
				return errProgramGone
			}
		}
		return nil
	}
	for {
		err := host.read(func(b []byte) error {
			if f.shaped() {
				return f.download(b, write)
			}
			return write(b)
		})
		if err != nil {
			f.flush()
		}
		switch {
		case err == nil:
		case err == io.EOF:
			ep.Shutdown(tcpip.ShutdownWrite)
			return
		case err == errProgramGone:
			host.reset()
			return
		default: // RST or a time-out of the peer
			drain(ep, writable)
			ep.Abort()
			return
		}
	}
}

// drain waits until the program's kernel has acknowledged everything: Abort
// would throw away what the peer sent before its RST.
func drain(ep tcpip.Endpoint, writable <-chan struct{}) {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	ep.SocketOptions().SetSendBufferSize(1, true) // then writable means empty
	for ep.Readiness(waiter.WritableEvents|waiter.EventHUp|waiter.EventErr) == 0 {
		select {
		case <-writable:
		case <-limit.C:
			return
		}
	}
}

var errProgramGone = errors.New("netd: the program's end of the connection is gone")
