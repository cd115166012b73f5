//go:build linux

package capture

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace with lo up. Functions run in it on a thread
// of their own.
type namespace struct {
	t     testing.TB
	calls chan func()
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	n := &namespace{t: t, calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range n.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("unshare the network: %v", err)
	}
	t.Cleanup(func() { close(n.calls) })
	n.ip("link set lo up")
	return n
}

// do runs f in the namespace. Descriptors that it opens stay in it.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); f() }
	<-done
}

func (n *namespace) ip(args string) {
	n.t.Helper()
	n.do(func() {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			n.t.Errorf("ip %s: %v %s", args, err, out)
		}
	})
}

// capture makes a packet socket with its ring, and the page.
func (n *namespace) capture() (packet, page *os.File) {
	n.t.Helper()
	fd := n.socket(unix.AF_PACKET, unix.SOCK_RAW)
	packet = os.NewFile(uintptr(fd), "packet")
	n.t.Cleanup(func() { packet.Close() })
	if err := Setup(fd); err != nil {
		n.t.Fatal(err)
	}
	page, err := NewPage()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { page.Close() })
	return packet, page
}

func (n *namespace) socket(domain, typ int) (fd int) {
	n.t.Helper()
	var err error
	n.do(func() { fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		n.t.Fatal(err)
	}
	return fd
}

// tun makes the interface tun0 with an address and a default route.
func (n *namespace) tun() *os.File {
	n.t.Helper()
	var fd int
	n.do(func() {
		var err error
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			n.t.Errorf("open /dev/net/tun: %v", err)
			return
		}
		req, _ := unix.NewIfreq("tun0")
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			n.t.Errorf("TUNSETIFF: %v", err)
		}
	})
	if n.t.Failed() {
		n.t.FailNow()
	}
	f := os.NewFile(uintptr(fd), "tun")
	n.t.Cleanup(func() { f.Close() })
	n.ip("addr add 10.9.0.2/24 dev tun0")
	n.ip("link set tun0 up")
	return f
}

// udp is a connected UDP socket.
func (n *namespace) udp(addr [4]byte, port int) int {
	n.t.Helper()
	fd := n.socket(unix.AF_INET, unix.SOCK_DGRAM)
	n.t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr, Port: port}); err != nil {
		n.t.Fatal(err)
	}
	return fd
}

var localhost = [4]byte{127, 0, 0, 1}

// flows are UDP sockets with ports that meet in both of two partitions.
func (n *namespace) flows(count int) (fds []int) {
	n.t.Helper()
	for i := range count {
		fd := n.socket(unix.AF_INET, unix.SOCK_DGRAM)
		n.t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: localhost, Port: 20000 + i}); err != nil {
			n.t.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: localhost, Port: 9000}); err != nil {
			n.t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

// flood sends datagrams as fast as the gate lets them through, with which a
// single sender loses none, until stop is called, which returns their number.
func (n *namespace) flood(gate *Gate) (stop func() uint64) {
	flows := n.flows(4)
	quit, sent := make(chan struct{}), make(chan uint64, 1)
	go func() {
		i := uint64(0)
		defer func() { sent <- i }()
		for ; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			gate.Wait()
			if err := sendTo(flows[i%4], i, 200+int(i*7919%1200)); err != nil {
				n.t.Error(err)
				return
			}
		}
	}()
	stop = sync.OnceValue(func() uint64 { close(quit); return <-sent })
	n.t.Cleanup(func() { stop() }) // a test that fails ends it as well: the gate goes away afterwards
	return stop
}
