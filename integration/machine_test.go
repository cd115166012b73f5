package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a computer of the test's own: a network and a mount namespace. What
// runs in it runs on one thread that is in them.
type machine struct {
	t     *testing.T
	calls chan func()
	tid   int
}

// newMachine makes a machine with nothing but lo.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make the machines of this test")
	}
	m := &machine{t: t, calls: make(chan func())}
	up := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		m.tid = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		up <- err
		for f := range m.calls {
			f()
		}
	}()
	if err := <-up; err != nil {
		close(m.calls)
		t.Fatalf("make a machine: %v", err)
	}
	t.Cleanup(func() { close(m.calls) })
	m.ip("link set lo up")
	return m
}

// do runs f on the machine's thread.
func (m *machine) do(f func()) {
	done := make(chan struct{})
	m.calls <- func() { defer close(done); f() }
	<-done
}

// sh runs a command of root's on the machine; it must succeed.
func (m *machine) sh(argv ...string) {
	m.t.Helper()
	var b []byte
	var err error
	m.do(func() { b, err = exec.Command(argv[0], argv[1:]...).CombinedOutput() })
	if err != nil {
		m.t.Fatalf("%v: %v %s", argv, err, b)
	}
}

func (m *machine) ip(args string) {
	m.t.Helper()
	m.sh(append([]string{"ip"}, strings.Fields(args)...)...)
}

// sysctl sets a parameter of the machine's network.
func (m *machine) sysctl(name, value string) {
	m.t.Helper()
	var err error
	m.do(func() { err = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
	if err != nil {
		m.t.Fatalf("sysctl %s: %v", name, err)
	}
}

// link joins two machines by a cable; a and b name its ends.
func link(from *machine, a string, to *machine, b string) {
	from.t.Helper()
	from.ip(fmt.Sprintf("link add %s type veth peer name %s netns %d", a, b, to.tid))
	from.ip("link set " + a + " up")
	to.ip("link set " + b + " up")
}

// file lays a file with the given text over one of the machine's.
func (m *machine) file(path, text string) {
	m.t.Helper()
	dir, err := os.MkdirTemp(workDir, "f")
	if err != nil {
		m.t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	f := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	m.do(func() {
		real, rerr := filepath.EvalSymlinks(path)
		if err = rerr; err == nil {
			err = unix.Mount(f, real, "", unix.MS_BIND, "")
		}
	})
	if err != nil {
		m.t.Fatalf("lay a file over %s: %v", path, err)
	}
}

// finish runs a command on the machine.
func (m *machine) finish(cmd *exec.Cmd) result {
	m.t.Helper()
	return finishAfter(m.t, cmd, func() error { return m.launch(cmd) })
}

// launch starts a command on the machine.
func (m *machine) launch(cmd *exec.Cmd) (err error) {
	m.do(func() { err = cmd.Start() })
	return err
}

// start starts a command of root's on the machine, which is killed at the end.
func (m *machine) start(cmd *exec.Cmd) {
	m.t.Helper()
	if err := m.launch(cmd); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// listen serves TCP connections on the machine.
func (m *machine) listen(addr string, serve func(*net.TCPConn)) *net.TCPAddr {
	m.t.Helper()
	var l net.Listener
	var err error
	m.do(func() { l, err = net.Listen("tcp", addr) })
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

// listenUDP answers datagrams on the machine; nil is no answer.
func (m *machine) listenUDP(addr string, answer func([]byte) []byte) {
	m.t.Helper()
	var c net.PacketConn
	var err error
	m.do(func() { c, err = net.ListenPacket("udp", addr) })
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if a := answer(b[:n]); a != nil {
				c.WriteTo(a, from)
			}
		}
	}()
}

// lan is a host for Clipper and another machine that is its way to the world.
//
//	host 192.0.2.1, 2001:db8::1  ──  outside 192.0.2.2, 2001:db8::2
//
// Beyond it, 198.51.100.0/24 is unreachable, 198.51.101.0/24 is forbidden, and
// 198.51.102.0/24 and 203.0.113.0/24 do not answer; the same for 2001:db8:1::/64
// to 2001:db8:3::/64 and 2001:db8:9::/64.
func lan(t *testing.T) (host, outside *machine) {
	t.Helper()
	host, outside = newMachine(t), newMachine(t)
	link(host, "eth0", outside, "eth0")
	host.ip("addr add 192.0.2.1/24 dev eth0")
	host.ip("-6 addr add 2001:db8::1/64 dev eth0 nodad")
	outside.ip("addr add 192.0.2.2/24 dev eth0")
	outside.ip("-6 addr add 2001:db8::2/64 dev eth0 nodad")
	host.ip("route add default via 192.0.2.2")
	host.ip("-6 route add default via 2001:db8::2")
	outside.sysctl("ipv4/ip_forward", "1")
	outside.sysctl("ipv6/conf/all/forwarding", "1")
	outside.sysctl("ipv4/icmp_ratelimit", "0")
	outside.sysctl("ipv6/icmp/ratelimit", "0")
	outside.router(
		unreachable{to: "198.51.100.0/24", from: "203.0.113.1", typ: 3, code: 1},
		unreachable{to: "198.51.101.0/24", from: "203.0.113.1", typ: 3, code: 13},
		unreachable{to: "198.51.102.0/24", from: "203.0.113.1"},
		unreachable{to: "203.0.113.0/24", from: "203.0.113.1"},
		unreachable{to: "2001:db8:1::/64", from: "2001:db8:9::1", typ: 1, code: 0},
		unreachable{to: "2001:db8:2::/64", from: "2001:db8:9::1", typ: 1, code: 1},
		unreachable{to: "2001:db8:3::/64", from: "2001:db8:9::1"},
		unreachable{to: "2001:db8:9::/64", from: "2001:db8:9::1"})
	// Time-outs that a test can wait for, and ping without capabilities.
	host.sysctl("ipv4/tcp_syn_retries", "1")
	host.sysctl("ipv4/ping_group_range", "0 2147483647")
	return host, outside
}

// writeFile makes a file that everybody can read.
func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Dir(path), 0o755)
}

// sameLines compares what a program printed under Clipper with what it printed
// without it, line by line.
func sameLines(t testing.TB, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("under clipper: %s\n      outside: %s", a, b)
		}
	}
}
