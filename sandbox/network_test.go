//go:build linux

package sandbox_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus/porttest"
	"clipper/sandbox"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func listen(t *testing.T, addr string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hostHTTP(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "host %s", r.URL.Path) })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

func TestHostLoopback(t *testing.T) {
	p4 := port(t, hostHTTP(t, "127.0.0.1:0"))
	p6 := port(t, hostHTTP(t, "[::1]:0"))
	eachUser(t, func(t *testing.T, w *who) {
		for _, url := range []string{
			"http://localhost:" + p4, "http://127.0.0.1:" + p4, "http://10.0.2.2:" + p4, "http://[::1]:" + p6,
		} {
			if got := ok(t, w.command(t, settings{}, "curl", "-sS", url+"/x")); got != "host /x" {
				t.Errorf("%s: %q", url, got)
			}
		}
		// Each address is its own, as outside.
		for _, addr := range []string{"127.0.0.1:" + p6, "[::1]:" + p4} {
			if r := finish(t, w.command(t, settings{}, w.bin, "client", "dial", addr)); !strings.Contains(r.stderr, "connection refused") {
				t.Errorf("%s: %q, want connection refused", addr, r.stderr)
			}
		}
	})
}

// Where the host's ::1 cannot be brought inside, a program that tries only the
// first address of localhost finds a server that listens there only.
func TestLocalhostFirstAddress(t *testing.T) {
	p := port(t, hostHTTP(t, "[::1]:0"))
	const script = `import socket, sys
a = socket.getaddrinfo("localhost", sys.argv[1], type=socket.SOCK_STREAM)[0]
s = socket.socket(a[0], a[1])
s.connect(a[4])
s.send(b"GET /x HTTP/1.0\r\n\r\n")
print(s.makefile().read().split("\n")[-1])`
	if os.Geteuid() != 0 {
		t.Skip("only root can lay a hosts file over the host's")
	}
	w := caller(t)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n::1 localhost ip6-localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := w.command(t, settings{Spec: sandbox.Spec{OwnLoopback6: true}}, "python3", "-c", script, p)
	cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/hosts; shift; exec "$@"`, "sh", hosts}, cmd.Args...)
	if got := ok(t, cmd); got != "host /x\n" {
		t.Errorf("got %q", got)
	}
	// The host's file has stayed as it was.
	if b, err := os.ReadFile(hosts); err != nil || !strings.Contains(string(b), "::1 localhost") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRefused(t *testing.T) {
	w := caller(t)
	at := porttest.TCP(t, "127.0.0.1")
	for _, a := range []string{at.String(), fmt.Sprint("10.0.2.2:", at.Port())} {
		r := finish(t, w.command(t, settings{}, w.bin, "client", "dial", a))
		if !strings.Contains(r.stderr, "connection refused") {
			t.Errorf("%s: %q, want connection refused", a, r.stderr)
		}
	}
}

// A server inside wins over one of the host at the same address.
func TestServerInside(t *testing.T) {
	p := port(t, hostHTTP(t, "127.0.0.1:0"))
	eachUser(t, func(t *testing.T, w *who) {
		script := fmt.Sprintf(`%[1]s client serve 127.0.0.1:%[2]s >ready & until grep -q ready ready; do :; done; printf hello | %[1]s client half-close 127.0.0.1:%[2]s; wait`, w.bin, p)
		if got := ok(t, w.command(t, settings{}, "sh", "-c", script)); got != "inside got question" {
			t.Errorf("got %q", got)
		}
	})
}

func TestTransfer(t *testing.T) {
	const size = 200 << 20
	h := sha256.New()
	io.Copy(h, stream(size))
	want := fmt.Sprintf("%d %x\n", size, h.Sum(nil))
	source := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, stream(size)) })
	sink := listen(t, "127.0.0.1:0", func(c net.Conn) {
		h := sha256.New()
		io.Copy(h, c)
		fmt.Fprintf(c, "%x", h.Sum(nil))
	})
	for _, mtu := range []int{0, 1500} {
		t.Run(fmt.Sprint("mtu", mtu), func(t *testing.T) {
			w := caller(t)
			var s settings
			s.Spec.MTU = mtu
			if got := ok(t, w.command(t, s, w.bin, "client", "download", source)); got != want {
				t.Errorf("download: %q, want %q", got, want)
			}
			ok(t, w.command(t, s, w.bin, "client", "upload", sink, fmt.Sprint(size)))
		})
	}
}

// TestLastWords: what a program sent right before its end arrives.
func TestLastWords(t *testing.T) {
	w := caller(t)
	t.Run("tcp", func(t *testing.T) {
		const size = 6 << 20
		got := make(chan error, 1)
		addr := listen(t, "127.0.0.1:0", func(c net.Conn) {
			time.Sleep(100 * time.Millisecond) // the program has ended by then, which no test relies on
			n, err := io.Copy(io.Discard, c)
			if err == nil && n != size {
				err = fmt.Errorf("%d bytes of %d", n, size)
			}
			got <- err
		})
		ok(t, w.command(t, settings{}, w.bin, "client", "last-words", "tcp", addr, fmt.Sprint(size)))
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
	t.Run("udp", func(t *testing.T) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ok(t, w.command(t, settings{}, w.bin, "client", "last-words", "udp", c.LocalAddr().String(), "100"))
		c.SetDeadline(time.Now().Add(time.Minute))
		if n, _, err := c.ReadFrom(make([]byte, 200)); n != 100 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestParallel(t *testing.T) {
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, c) })
	w := caller(t)
	ok(t, w.command(t, settings{}, w.bin, "client", "parallel", addr, "1000"))
}

func TestHalfClose(t *testing.T) {
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) {
		b, _ := io.ReadAll(c) // until the client's FIN
		fmt.Fprintf(c, "answer to %s", b)
	})
	w := caller(t)
	if got := ok(t, w.command(t, settings{}, w.bin, "client", "half-close", addr)); got != "answer to question" {
		t.Errorf("got %q", got)
	}
}

// What a peer sends before it resets the connection arrives before the reset.
func TestDataThenReset(t *testing.T) {
	const size = 1 << 20
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) {
		io.Copy(c, stream(size))
		awaitAcknowledged(c) // RST overtakes what is still on the way, outside too
		c.(*net.TCPConn).SetLinger(0)
	})
	w := caller(t)
	got := ok(t, w.command(t, settings{}, w.bin, "client", "data-then-reset", addr))
	if !strings.HasPrefix(got, fmt.Sprint(size, " ")) || !strings.Contains(got, "connection reset by peer") {
		t.Errorf("got %q", got)
	}
}

// awaitAcknowledged returns when the peer's kernel has everything that was written.
func awaitAcknowledged(c net.Conn) {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	for unsent := 1; unsent > 0; time.Sleep(time.Millisecond) {
		if rc.Control(func(fd uintptr) { unsent, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil {
			return
		}
	}
}

// A peer's urgent byte (tcp(7)) holds up nothing of what comes around it, and is
// among the others.
func TestUrgent(t *testing.T) {
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) {
		rc, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		for range 20 {
			rc.Control(func(fd uintptr) {
				for i, flags := range []int{0, unix.MSG_OOB, 0} {
					unix.Sendto(int(fd), []byte{'a' + byte(i)}, flags, nil)
				}
			})
			if _, err := io.ReadFull(c, make([]byte, 3)); err != nil { // the echo
				t.Error(err)
				return
			}
		}
	})
	w := caller(t)
	const script = `exec 3<>/dev/tcp/${1/:/\/}; for i in $(seq 20); do read -t 20 -N 3 x <&3 || exit; echo $x; printf $x >&3; done`
	if got := ok(t, w.command(t, settings{}, "bash", "-c", script, "bash", addr)); got != strings.Repeat("abc\n", 20) {
		t.Errorf("got %q", got)
	}
}

func udpPeer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().String()
}

func TestUDP(t *testing.T) {
	addr := udpPeer(t)
	eachUser(t, func(t *testing.T, w *who) {
		for _, a := range []string{addr, "10.0.2.2:" + port(t, addr)} {
			for _, size := range []string{"1", "1400", "9000", "65507"} {
				ok(t, w.command(t, settings{}, w.bin, "client", "udp", a, size))
			}
		}
	})
	t.Run("mtu1500", func(t *testing.T) {
		w := caller(t)
		var s settings
		s.Spec.MTU = 1500
		for _, size := range []string{"1400", "9000", "65507"} {
			ok(t, w.command(t, s, w.bin, "client", "udp", addr, size))
		}
	})
}

func TestUDPRefused(t *testing.T) {
	w := caller(t)
	at := porttest.UDP(t)
	for _, a := range []string{at.String(), fmt.Sprint("10.0.2.2:", at.Port())} {
		if got := ok(t, w.command(t, settings{}, w.bin, "client", "udp-refused", a)); !strings.Contains(got, "connection refused") {
			t.Errorf("%s: %q", a, got)
		}
	}
}

// Two programs inside talk over UDP although the host has the port as well.
func TestUDPInside(t *testing.T) {
	p := port(t, udpPeer(t))
	w := caller(t)
	for _, size := range []string{"100", "65507"} { // in one packet, in fragments
		script := fmt.Sprintf(`rm -f ready; %[1]s client udp-server 127.0.0.1:%[2]s >ready & until grep -qs ready ready; do :; done; %[1]s client udp 127.0.0.1:%[2]s %[3]s || { kill $!; exit 1; }; wait $!`, w.bin, p, size)
		ok(t, w.command(t, settings{}, "sh", "-c", script))
	}
}

func TestPing(t *testing.T) {
	eachUser(t, func(t *testing.T, w *who) {
		for _, a := range []string{"127.0.0.1", "10.0.2.2", "10.0.2.100"} {
			ok(t, w.command(t, settings{}, w.bin, "client", "ping", a))
		}
	})
}

// dnsServer knows one name and answers every other with NXDOMAIN.
func dnsServer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			switch {
			case q.Name.String() != "clipper.test.":
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
					Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 77}},
				}}
			}
			out, err := m.Pack()
			if err == nil {
				c.WriteTo(out, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	server := dnsServer(t)
	eachUser(t, func(t *testing.T, w *who) {
		var s settings
		s.Net.DNS = []string{server}
		if got := ok(t, w.command(t, s, "getent", "ahostsv4", "clipper.test")); !strings.HasPrefix(got, "192.0.2.77 ") {
			t.Errorf("clipper.test: %q", got)
		}
		if r := finish(t, w.command(t, s, "getent", "ahostsv4", "nothing.test")); r.code != 2 {
			t.Errorf("nothing.test: exit status %d, %q", r.code, r.stdout)
		}
	})
}

func TestPublish(t *testing.T) {
	w := caller(t)
	for _, at := range []string{"0.0.0.0", "127.0.0.1"} {
		t.Run("tcp "+at, func(t *testing.T) {
			host := porttest.TCP(t, "127.0.0.1").String()
			var s settings
			s.Net.Publish = publish(t, host+":80")
			cmd := w.command(t, s, w.bin, "client", "serve", at+":80")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			io.ReadFull(out, make([]byte, len("ready\n")))
			c, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, "this")
			b, err := io.ReadAll(c)
			if err != nil || string(b) != "inside got this" {
				t.Errorf("%q, %v", b, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("udp", func(t *testing.T) {
		host := porttest.UDP(t).String()
		var s settings
		s.Net.Publish = publish(t, host+":5000/udp")
		cmd := w.command(t, s, w.bin, "client", "udp-server", "0.0.0.0:5000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(out, make([]byte, len("ready\n")))
		if err := udpEcho(host, "300"); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("taken", func(t *testing.T) {
		taken := listen(t, "127.0.0.1:0", func(net.Conn) {})
		var s settings
		s.Net.Publish = publish(t, taken+":80")
		r := finish(t, w.command(t, s, "echo", "started"))
		if r.code != 125 || r.stdout != "" || !strings.Contains(r.stderr, taken) || !strings.Contains(r.stderr, "address already in use") {
			t.Errorf("%+v", r)
		}
	})
}
