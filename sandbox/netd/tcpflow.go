//go:build linux

package netd

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"clipper/sandbox/internal/subnet"
	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

// flowKey is a connection as the sandbox sees it.
type flowKey struct{ program, peer netip.AddrPort }

// tcpFlow is a TCP connection: one of the program that ends at conn, and one of the
// host, fd. It passes on bytes and the end of each stream.
type tcpFlow struct {
	l    *loop
	key  flowKey
	slot int32
	fd   int
	conn *tcp.Conn // nil while the host connects

	// While the host connects.
	out netip.AddrPort // where to
	syn []byte         // the program's packet

	backlog byteQueue // of the program, for the host

	readable  bool // the host's socket may have bytes
	hangUp    bool // and after them the end, an error, or urgent ones: a read stops short of them
	full      bool // the host's socket takes no more for now
	closing   bool // the program has ended its stream
	hostEnded bool // and the host its
	hostErr   error

	stream
	reached time.Duration // when the host had connected; 0: not yet, or nothing waits for it
	wakeAt  time.Duration // when to resume; 0: never

	queued, touched, ackDue bool // in the lists of the loop
}

// add makes the flow of a descriptor.
func (l *loop) add(key flowKey, fd int) (*tcpFlow, error) {
	f := &tcpFlow{l: l, key: key, fd: fd}
	if k := len(l.free); k > 0 {
		f.slot = l.free[k-1]
		l.free = l.free[:k-1]
	} else {
		f.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[f.slot] = f
	if err := l.watch(fd, f.slot, unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET); err != nil {
		l.slots[f.slot] = nil
		l.free = append(l.free, f.slot)
		return nil, err
	}
	l.flows[key] = f
	return f, nil
}

// remove forgets a flow, whose descriptor is closed.
func (f *tcpFlow) remove() {
	f.leave()
	f.conn = nil
	f.drop()
	f.l.travels -= f.size
	f.fd, f.size, f.travels = -1, 0, nil
	f.l.slots[f.slot] = nil
	f.l.free = append(f.l.free, f.slot)
}

// leave makes room for another connection with the same addresses.
func (f *tcpFlow) leave() {
	if f.l.flows[f.key] == f {
		delete(f.l.flows, f.key)
	}
}

// drop forgets what waits for the host.
func (f *tcpFlow) drop() {
	f.l.pending -= f.backlog.len()
	f.backlog = byteQueue{}
}

func (f *tcpFlow) touch() {
	if !f.touched {
		f.touched = true
		f.l.touched = append(f.l.touched, f)
	}
}

func (f *tcpFlow) enqueue() {
	if !f.queued {
		f.queued = true
		f.l.ready = append(f.l.ready, f)
	}
}

func (f *tcpFlow) owesAck() bool {
	if f.conn == nil {
		return false
	}
	now, later := f.conn.NeedsAck()
	return now || later
}

// open takes the program's SYN. It connects on the host first and answers only
// then: the program sees the refusal, the unreachable network or the time-out
// that the host saw.
func (l *loop) open(p *packet, s *tcp.Segment) {
	syn := padQuote(p.b[:len(p.b)-len(s.Payload)])
	l.connect(flowKey{p.src, p.dst}, l.n.outside(p.dst), syn)
}

func (l *loop) connect(key flowKey, out netip.AddrPort, syn []byte) {
	fd, err := startConnect(out)
	if err == nil {
		var f *tcpFlow
		if f, err = l.add(key, fd); err == nil {
			f.out, f.syn = out, syn
			f.enqueue() // on loopback the connection stands already
			return
		}
		unix.Close(fd)
	}
	if wait, err := l.n.shortage.postpone(key, err, l.now); !wait {
		l.refuse(syn, err)
	}
}

// awaitHost looks how far the connection of the host is.
func (f *tcpFlow) awaitHost() {
	done, err := connected(f.fd)
	if !done {
		return
	}
	if err == nil {
		if !f.handshakeDue() {
			return
		}
		if _, s, ok := parseSegment(f.syn); ok {
			f.conn, f.syn = tcp.Accept(f, f.options(), &s, f.l.now), nil
			f.touch()
		}
		return
	}
	unix.Close(f.fd)
	f.remove()
	// Where ::1 is not the host's, its servers that listen there only are reached as
	// 127.0.0.1: names like localhost mean both.
	if err == unix.ECONNREFUSED && f.out.Addr() == subnet.Local4 && f.l.n.tun.lo == 0 {
		f.l.connect(f.key, netip.AddrPortFrom(subnet.Local6, f.out.Port()), f.syn)
		return
	}
	f.l.refuse(f.syn, err)
}

func parseSegment(b []byte) (p packet, s tcp.Segment, ok bool) {
	if p, ok = parsePacket(b); ok {
		s, ok = tcp.Parse(p.body())
	}
	return p, s, ok
}

// refuse answers a connection that the host could not make, when its process is
// known.
func (l *loop) refuse(syn []byte, err error) {
	l.n.owners.settle(func() { l.do(func() { l.answerRefusal(syn, err) }) })
}

func (l *loop) answerRefusal(syn []byte, err error) {
	p, s, ok := parseSegment(syn)
	if !ok {
		return
	}
	errno, _ := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.ETIMEDOUT: // silence: the program's own timer runs out as well
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EPERM, unix.ENOPROTOOPT, unix.EHOSTDOWN:
		l.n.sendUnreachable(&p, errno)
	default:
		l.reject(&p, &s)
	}
}

// reject answers a segment that belongs to no connection.
func (l *loop) reject(p *packet, s *tcp.Segment) {
	if rst, ok := tcp.Refusal(s); ok {
		l.send(flowKey{p.src, p.dst}, &rst, nil, l.n.mtu)
	}
}

// connectInside makes a connection of the sandbox for one that came to a
// published port.
func (l *loop) connectInside(fd int, server netip.AddrPort) {
	for range 100 {
		key := flowKey{server, netip.AddrPortFrom(gatewayTo(server.Addr()), uint16(rand.IntN(65536-1024)+1024))}
		if l.flows[key] != nil {
			continue
		}
		f, err := l.add(key, fd)
		if err != nil {
			break
		}
		f.conn = tcp.Connect(f, f.options(), l.now)
		f.touch()
		return
	}
	resetSocket(fd)
}

func (f *tcpFlow) options() tcp.Options {
	h := ipv4HeaderLen
	if f.key.program.Addr().Is6() {
		h = ipv6HeaderLen
	}
	return tcp.Options{ISS: rand.Uint32(), MaxMSS: f.l.n.mtu - h - tcp.HeaderLen, Window: wideWindow, Release: f.l.pool.Put}
}

// onPacket takes a segment of the program.
func (f *tcpFlow) onPacket(s *tcp.Segment) {
	if f.conn == nil {
		if s.Flags&tcp.RST != 0 { // it gave up
			resetSocket(f.fd)
			f.remove()
		}
		return
	}
	f.touch()
	f.handle(f.conn.Input(s, f.l.now))
}

// handle acts on what a segment or the time brought about.
func (f *tcpFlow) handle(e tcp.Event) {
	if len(e.Data) > 0 {
		if f.toHost(e.Data); f.fd < 0 {
			return
		}
	}
	if e.End {
		f.closing = true
		f.endHost()
	}
	switch {
	case e.Reset, e.Lost:
		resetSocket(f.fd)
		f.remove()
	case e.Closed:
		f.finish()
	case f.readable || len(f.travels) > 0 || f.end != notYet:
		f.enqueue() // there may be room now
	}
}

// finish closes the host's socket when it has everything.
func (f *tcpFlow) finish() {
	f.leave()
	if f.backlog.len() == 0 {
		unix.Close(f.fd)
		f.remove()
	}
}

// onSocket takes what epoll says about the host's socket.
func (f *tcpFlow) onSocket(events uint32) {
	const end = unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&(unix.EPOLLIN|end) != 0 {
		f.readable = true
		f.hangUp = f.hangUp || events&end != 0
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 && f.full {
		f.full = false
		f.flushBacklog()
	}
	if f.fd >= 0 && (f.readable || f.conn == nil) {
		f.enqueue()
	}
}

// toHost writes what the program has sent; what the socket does not take, or the
// shaper not yet, waits.
func (f *tcpFlow) toHost(b []byte) {
	if f.hostErr != nil {
		return // nobody reads it
	}
	if f.backlog.len() == 0 && f.shape() == nil {
		f.started = true
		n, errno := f.write(b)
		if errno != 0 && errno != unix.EAGAIN {
			return
		}
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	f.l.pending += len(b)
	f.backlog.push(b)
	f.flushBacklog()
}

// write writes what the host's socket takes at once.
func (f *tcpFlow) write(b []byte) (n int, errno unix.Errno) {
	for n < len(b) {
		k, errno := rawSend(f.fd, b[n:])
		switch {
		case errno == unix.EAGAIN || errno == unix.ENOBUFS || errno == unix.ENOMEM:
			f.full = true
			return n, unix.EAGAIN
		case errno != 0:
			// The peer is gone. What it had sent before is still delivered, then
			// the program is told.
			f.hostErr = errno
			f.drop()
			f.readable, f.hangUp = true, true
			f.enqueue()
			return n, errno
		}
		n += k
	}
	return n, 0
}

// flushBacklog writes what waits for the host.
func (f *tcpFlow) flushBacklog() {
	for f.backlog.len() > 0 && !f.full {
		may, limit := f.permit()
		if may == 0 {
			break
		}
		n, _ := f.write(f.backlog.bytes()[:may])
		if f.hostErr != nil {
			break
		}
		f.backlog.pop(n)
		f.l.pending -= n
		if limit != nil && n > 0 {
			f.next = limit.up.pass(f.l.time(), n)
		}
	}
	if f.fd < 0 { // cut
		return
	}
	f.endHost()
	f.touch()
	if f.l.flows[f.key] != f { // see finish
		f.finish()
	}
}

// endHost ends the stream to the host when everything has been written.
func (f *tcpFlow) endHost() {
	if f.closing && f.backlog.len() == 0 {
		f.closing = false
		unix.Shutdown(f.fd, unix.SHUT_WR)
	}
}

// toProgram moves what the host has sent, as far as the program has room.
func (f *tcpFlow) toProgram() {
	if f.fd < 0 {
		return
	}
	if f.conn == nil {
		f.awaitHost()
		return
	}
	l := f.l
	if f.hostEnded {
		f.afterEnd()
		return
	}
	if f.shaped() {
		f.toProgramShaped()
		return
	}
	for range readsPerTurn {
		if !f.readable {
			return
		}
		room := f.room()
		if room == 0 {
			return
		}
		if mss := f.conn.MSS(); room > mss {
			room -= room % mss
		}
		n, errno := rawRead(f.fd, l.scratch.Room()[:room])
		switch {
		case errno == unix.EAGAIN:
			f.readable, f.hangUp = false, false
			return
		case errno != 0 || n == 0 && f.hostErr != nil: // RST or a time-out of the peer
			f.resetProgram()
			return
		case n == 0:
			f.endProgram()
			return
		}
		l.scratch.Fill(n)
		b := l.pool.Fit(l.scratch)
		if b == l.scratch {
			l.scratch = l.pool.Get(tcp.MaxPayload)
		}
		f.conn.Write(b, n < room, l.now)
		f.touch()
		if n < room && !f.hangUp {
			f.readable = false // epoll says when there is more
			return
		}
	}
	f.enqueue()
}

// room is how many bytes the program has room for. If there are none, the flow
// goes on when there are.
func (f *tcpFlow) room() int {
	n := f.conn.Room()
	if n == 0 {
		f.conn.Block(f.l.now)
		f.touch()
		return 0
	}
	// What is in flight will be acknowledged.
	return max(0, min(n, fairWindow(f.l.pool.Used())-f.conn.InFlight(), tcp.MaxPayload))
}

// endProgram ends the stream to the program.
func (f *tcpFlow) endProgram() {
	f.readable, f.hangUp, f.hostEnded = false, false, true
	f.touch()
	if f.conn.CloseWrite(f.l.now) {
		f.finish()
	}
}

// resetProgram tells the program that the peer is gone.
func (f *tcpFlow) resetProgram() {
	f.conn.Abort()
	unix.Close(f.fd)
	f.remove()
}

// afterEnd looks why the host's socket reports something after its stream has
// ended: only an error matters.
func (f *tcpFlow) afterEnd() {
	f.readable = false
	if f.hostErr == nil {
		f.hostErr = socketError(f.fd)
	}
	if f.hostErr != nil {
		f.resetProgram()
	}
}

// Send implements tcp.Link.
func (f *tcpFlow) Send(s *tcp.Segment, b *tcp.Buffer) {
	mss := f.l.n.mtu
	if f.conn != nil {
		mss = f.conn.MSS()
	}
	f.l.send(f.key, s, b, mss)
}

// tcpChecksum is where the checksum stands in a TCP header.
const tcpChecksum = 16

// send writes a segment into the sandbox, in packets of up to mss bytes of payload.
func (l *loop) send(key flowKey, s *tcp.Segment, b *tcp.Buffer, mss int) {
	src, dst := key.peer.Addr(), key.program.Addr()
	h := ipv4HeaderLen
	if src.Is6() {
		h = ipv6HeaderLen
	}
	n := s.Len()
	out := l.header[:vnetHeaderLen+h+n]
	if b != nil {
		out = b.WithHeader(len(out))
	}
	putSegmentOffload(out, src.Is4(), h, s, mss)
	ip := out[vnetHeaderLen:]
	t := ip[h:]
	putIP(ip, src, dst, unix.IPPROTO_TCP, len(t), 64)
	s.Put(t, key.peer.Port(), key.program.Port())
	binary.BigEndian.PutUint16(t[tcpChecksum:], ^checksum(pseudo(src, dst, unix.IPPROTO_TCP, len(t))))
	l.n.tun.write(out)
}

// byteQueue holds the bytes that a socket does not take yet.
type byteQueue struct {
	b    []byte
	head int
}

func (q *byteQueue) len() int      { return len(q.b) - q.head }
func (q *byteQueue) bytes() []byte { return q.b[q.head:] }

func (q *byteQueue) push(b []byte) {
	if q.head > 0 && len(q.b)+len(b) > cap(q.b) {
		q.b = q.b[:copy(q.b, q.b[q.head:])]
		q.head = 0
	}
	q.b = append(q.b, b...)
}

// pop forgets n bytes, and the memory with the last one.
func (q *byteQueue) pop(n int) {
	if q.head += n; q.head == len(q.b) {
		*q = byteQueue{}
	}
}
