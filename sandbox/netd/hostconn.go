//go:build linux

package netd

import (
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostConn is a TCP connection of the host. Its buffers are borrowed only while
// bytes move, so that an idle connection costs little.
type hostConn struct {
	f  *os.File
	rc syscall.RawConn
}

// Keep-alive of connections of the host (tcp(7)). The program's own probes end
// at gVisor; these keep the state in NATs on the way, and give up a dead peer
// about as late as an idle kernel connection would.
const (
	keepIdle     = 45 // seconds
	keepInterval = 75
	keepCount    = 127
)

func newHostConn(fd int) (*hostConn, error) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // the program's kernel has decided already
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount)
	f := os.NewFile(uintptr(fd), "tcp")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &hostConn{f: f, rc: rc}, nil
}

// dialTCP connects with the kernel's own time limit. The error is a unix.Errno.
func dialTCP(dst netip.AddrPort) (*hostConn, error) {
	family := unix.AF_INET
	if dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, sockaddr(dst))
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		unix.Close(fd)
		return nil, err
	}
	c, nerr := newHostConn(fd)
	if nerr != nil {
		return nil, unix.EMFILE
	}
	if err == nil {
		return c, nil
	}
	// On loopback the connection stands already, without a wait for epoll.
	var status error
	werr := c.rc.Write(func(fd uintptr) bool {
		if !ready(fd) {
			return false
		}
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			status = err
		case errno != 0:
			status = unix.Errno(errno)
		}
		return true
	})
	if werr != nil {
		status = unix.ECONNABORTED
	}
	if status != nil {
		c.close()
		return nil, status
	}
	return c, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zone(a.Addr())}
}

// copyBuffers hold what one read takes.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// read waits for bytes and hands them to f, which does not keep them.
func (c *hostConn) read(f func([]byte) error) error {
	var buf *[]byte
	var n int
	var errno syscall.Errno
	err := c.rc.Read(func(fd uintptr) bool {
		buf = copyBuffers.Get().(*[]byte)
		if n, errno = rawRead(int(fd), *buf); errno == unix.EAGAIN {
			copyBuffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if buf != nil {
		defer copyBuffers.Put(buf)
	}
	switch {
	case err != nil:
		return err
	case errno != 0:
		return errno
	case n == 0:
		return io.EOF
	}
	return f((*buf)[:n])
}

// Write writes what the socket takes without waiting; less than all comes with
// the error unix.EAGAIN.
func (c *hostConn) Write(b []byte) (n int, err error) {
	cerr := c.rc.Control(func(fd uintptr) {
		for n < len(b) {
			k, errno := rawSend(int(fd), b[n:])
			if errno != 0 {
				err = errno
				return
			}
			n += k
		}
	})
	if cerr != nil {
		return n, cerr
	}
	return n, err
}

// writable waits until a Write has a chance.
func (c *hostConn) writable() error { return c.rc.Write(ready) }

// ready reports whether fd can be written to. It has to be asked under
// RawConn.Write: epoll reports only changes.
func ready(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

func (c *hostConn) closeWrite() {
	c.rc.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// reset closes with RST.
func (c *hostConn) reset() {
	c.rc.Control(func(fd uintptr) {
		unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	c.f.Close()
}

func (c *hostConn) close() { c.f.Close() }
