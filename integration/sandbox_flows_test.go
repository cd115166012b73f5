package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/bus/porttest"
)

// TestOwnersOnTheBus: netd says on the bus which process opened each flow.
func TestOwnersOnTheBus(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		url := hostHTTP(t)
		port := strings.TrimSuffix(url[strings.LastIndexByte(url, ':')+1:], "/")
		s := startSession(t, w, "--no-devtools", "-q")
		s.do(t, "true")
		tap := beside(s.cmd, "tap", "proc")
		var lines syncBuffer
		tap.Stdout = &lines
		if err := tap.Start(); err != nil {
			t.Fatal(err)
		}
		// The programs stay until netd has had a look at them.
		program := `/usr/bin/python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_%s); s.connect(("127.0.0.1", ` + port + `)); s.send(b"x"); time.sleep(1000)' & echo $! >%s`
		for transport, kind := range map[string]string{"tcp": "STREAM", "udp": "DGRAM"} {
			s.do(t, fmt.Sprintf(program, kind, transport))
			pid := strings.TrimSpace(string(readFile(t, filepath.Join(s.cmd.Dir, transport))))
			eventually(t, "the owner of the "+transport+" flow on the bus", func() bool {
				for line := range strings.Lines(lines.String()) {
					var e struct {
						Type, Transport, Local, Remote string
						PID                            int
					}
					if json.Unmarshal([]byte(line), &e) == nil && e.Type == "socket" && e.Transport == transport && e.Remote == "127.0.0.1:"+port {
						if fmt.Sprint(e.PID) != pid || e.Local == "" {
							t.Errorf("process %s opened the flow: %s", pid, line)
						}
						return true
					}
				}
				return false
			})
		}
		s.do(t, "kill $(cat tcp udp)")
		s.end(t)
		if err := tap.Wait(); err != nil {
			t.Errorf("tap: %v", err)
		}
	})
}

// TestFewFiles: with a low limit of open files, which netd has as well, connections
// that find no room fail, but are not told that the server refused them, and the
// terminal says why. The netd of a root that may raise limits has room for all.
func TestFewFiles(t *testing.T) {
	url := hostHTTP(t)
	const script = `import errno, socket, sys
held, failed = [], []
for i in range(50):
    s = socket.socket()
    try: s.connect(("127.0.0.1", int(sys.argv[1]))); held.append(s)
    except OSError as e: failed.append(errno.errorcode[e.errno]); break
print(len(held) == 50, *failed)`
	everybody(t, func(t *testing.T, w who) {
		port := strings.TrimSuffix(url[strings.LastIndexByte(url, ':')+1:], "/")
		r := finish(t, w.command(t, "prlimit", "--nofile=64:64", clipper(t), "up", "-q", "--no-devtools", "--", "/usr/bin/python3", "-c", script, port))
		r.wants(t, 0)
		if w.name == "" && r.stdout == "True\n" && r.stderr == "" {
			return
		}
		if r.stdout != "False EHOSTUNREACH\n" || !strings.Contains(r.stderr, "too many open files (the limit, ulimit -Hn, is 64)") {
			t.Errorf("%s%s", r.stdout, r.stderr)
		}
	})
}

// TestPublish: published ports are open before the command starts, for both
// families and transports, and one that is taken is an error before that.
func TestPublish(t *testing.T) {
	w := plainUser(t)
	tcp, six, udp := porttest.TCP(t, "127.0.0.1").String(), porttest.TCP(t, "::1").String(), porttest.UDP(t).String()
	s := startSession(t, w, "--no-devtools", "-q",
		"-p", tcp+":80", "-p", six+":80", "-p", udp+":53/udp")
	s.do(t, `/usr/bin/python3 -m http.server --bind 0.0.0.0 80 >/dev/null 2>&1 & echo $! >web`)
	s.do(t, `/usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 53)); b, a = s.recvfrom(100); s.sendto(b.upper(), a)' &`)
	for _, addr := range []string{tcp, six} {
		eventually(t, "an answer at "+addr, func() bool {
			c, err := net.Dial("tcp", addr)
			if errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("the published port is not open: %v", err)
			}
			if err != nil {
				return false // the server inside does not listen yet
			}
			defer c.Close()
			io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
			b, _ := io.ReadAll(c)
			return strings.HasPrefix(string(b), "HTTP/1.0 200")
		})
	}
	c, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 100)
	eventually(t, "an answer by UDP", func() bool {
		io.WriteString(c, "word")
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _ := c.Read(b)
		return string(b[:n]) == "WORD"
	})
	s.do(t, "kill $(cat web); wait")
	s.end(t)

	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := run(t, w, "up", "-p", taken.LocalAddr().String()+":53/udp", "--", "echo", "started")
	if r.wants(t, 125, taken.LocalAddr().String(), "address already in use"); r.stdout != "" {
		t.Error("the command ran although a port was taken")
	}
	run(t, w, "up", "-p", "80", "--", "true").wants(t, 125, "the form is [ADDR:]HOST:APP[/udp]")
}
