package integration

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus/porttest"
)

// loopbackScript speaks with servers of the host and with its own, at an address of
// the loopback, and prints what it gets: data, or the system's error.
const loopbackScript = `
import errno, socket, subprocess, sys, threading
addr = sys.argv[1]
family = socket.AF_INET6 if ":" in addr else socket.AF_INET
def show(name, f):
    try: r = f()
    except OSError as e: r = errno.errorcode.get(e.errno, str(e))
    print(addr, name, r)
def exchange(to, port, size):
    s = socket.create_connection((to, port), timeout=60)
    ends = s.getsockname()[0], s.getpeername()[0]
    def send(): s.sendall(b"x" * size); s.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send); t.start()
    n = 0
    while b := s.recv(65536): n += len(b)
    t.join()
    return n, ends
def own(bind):
    l = socket.create_server((bind, 0), family=family)
    def echo():
        c, _ = l.accept()
        while b := c.recv(65536): c.sendall(b)
        c.close()
    t = threading.Thread(target=echo); t.start()
    r = exchange(addr, l.getsockname()[1], 20000000)
    t.join()
    return r
def udp(to=None):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(60)
    s.connect((addr, to))
    s.send(b"x" * 65000)
    return len(s.recv(65536))
def udp_own():
    a, b = [socket.socket(family, socket.SOCK_DGRAM) for i in range(2)]
    a.bind((addr, 0)); a.settimeout(60); b.settimeout(60)
    b.sendto(b"x" * 65000, a.getsockname())
    got, back = a.recvfrom(65536)
    a.sendto(b"answer", back)
    return len(got), back[0], b.recv(10)
def ping(*args):
    r = subprocess.run(["ping", "-n", "-c1", "-W30", *args, addr], capture_output=True, text=True)
    return r.returncode
show("host", lambda: exchange(addr, 7000, 3000000))
show("host's other family", lambda: exchange(addr, 7006 if family == socket.AF_INET else 7004, 1))
show("by name", lambda: exchange("localhost", 7006 if family == socket.AF_INET6 else 7004, 1))
show("refused", lambda: exchange(addr, 1, 1))
show("own", lambda: own(addr))
show("own at any address", lambda: own("::" if ":" in addr else "0.0.0.0"))
show("udp", lambda: udp(7000))
show("udp refused", lambda: udp(1))
show("udp own", udp_own)
show("ping", ping)
show("ping large", lambda: ping("-s60000"))
`

// TestLoopback: 127.0.0.1 and ::1 are the host's and the program's own, as outside,
// for each family by itself.
func TestLoopback(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		host := newMachine(t)
		host.sysctl("ipv4/ping_group_range", "0 2147483647")
		host.file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n")
		echo := func(c *net.TCPConn) { io.Copy(c, c) }
		for _, addr := range []string{"127.0.0.1:7000", "[::1]:7000", "127.0.0.1:7004", "[::1]:7006"} {
			host.listen(addr, echo)
			host.listenUDP(addr, func(b []byte) []byte { return b })
		}
		file := filepath.Join(w.dir(t), "loopback.py")
		writeFile(t, file, loopbackScript)
		for _, addr := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
			native := host.finish(w.command(t, "/usr/bin/python3", file, addr))
			r := host.finish(w.command(t, clipper(t), "up", "--no-devtools", "-q", "--", "/usr/bin/python3", file, addr))
			if native.code != 0 || r.code != 0 {
				t.Fatalf("exit %d %s\nunder clipper: exit %d %s", native.code, native.stderr, r.code, r.stderr)
			}
			sameLines(t, r.stdout, native.stdout)
		}
	})
}

// TestPublishLoopbackServer: a published port reaches a server that listens on a
// loopback address only, as servers for development do.
func TestPublishLoopbackServer(t *testing.T) {
	if _, err := exec.LookPath("nc"); err != nil {
		t.Skip(err)
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		published := porttest.TCP(t, "127.0.0.1").String()
		s := startSession(t, plainUser(t), "--no-devtools", "-q", "-p", published+":5173")
		s.do(t, fmt.Sprintf("echo inside | nc -l -N %s 5173 >heard & echo $! >nc", addr))
		eventually(t, "an answer of the server at "+addr, func() bool {
			c, err := net.Dial("tcp", published)
			if err != nil {
				return false
			}
			defer c.Close()
			io.WriteString(c, "word")
			c.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(c)
			return string(b) == "inside\n"
		})
		s.do(t, "wait $(cat nc)")
		if got := string(readFile(t, filepath.Join(s.cmd.Dir, "heard"))); !strings.HasPrefix(got, "word") {
			t.Errorf("the server at %s heard %q", addr, got)
		}
		s.end(t)
	}
}
