package integration

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// outsideScript does to another machine what programs do to networks, and prints
// what it gets: data, or the system's error.
const outsideScript = `
import errno, hashlib, os, socket, struct, subprocess, threading
lines, threads = [], []
def show(*calls): # one after the other, beside the other shows
    mine = []
    lines.append(mine)
    def run():
        for name, f in calls:
            try: r = f()
            except OSError as e: r = errno.errorcode.get(e.errno, str(e))
            mine.append("%s %s" % (name, r))
    threads.append(threading.Thread(target=run))
def conn(addr, port, timeout=30):
    s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect((addr, port))
    return s
def all(s):
    h, n = hashlib.sha256(), 0
    while True:
        b = s.recv(65536)
        if not b: return "%d %s" % (n, h.hexdigest())
        h.update(b); n += len(b)
def echo(addr):
    s = conn(addr, 7000)
    s.sendall(b"x" * 100000); s.shutdown(socket.SHUT_WR)
    return all(s)
def answer(addr):
    s = conn(addr, 7002)
    s.sendall(b"question"); s.shutdown(socket.SHUT_WR)
    return s.makefile().read()
def peer_closes_first(addr):
    s = conn(addr, 7005)
    got = s.makefile().read()
    s.sendall(b"still here"); s.shutdown(socket.SHUT_WR)
    return got
def reset(addr):
    s = conn(addr, 7001)
    s.sendall(b"reset, please")
    return all(s)
def resets(addr):
    s = conn(addr, 7003)
    s.sendall(b"about to reset")
    s.recv(2)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
    return conn(addr, 7004).makefile().read()
def keepalive(addr):
    s = conn(addr, 7000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for o in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL): s.setsockopt(socket.IPPROTO_TCP, o, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)
    s.settimeout(3)
    try: return s.recv(1)
    except socket.timeout: pass
    s.settimeout(30); s.sendall(b"alive"); s.shutdown(socket.SHUT_WR)
    return all(s)
def udp(addr, size):
    s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((addr, 7000)); s.settimeout(30)
    s.send(os.urandom(1) * size)
    return len(s.recv(65536))
def udp_error(addr, ttl=64, port=7):
    six = ":" in addr
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)), ttl)
    s.setsockopt(*((41, 25) if six else (0, 11)), 1) # IPV6_RECVERR, IP_RECVERR
    s.connect((addr, port)); s.settimeout(30)
    s.send(b"x")
    return s.recv(10)
def ping(*args):
    r = subprocess.run(["ping", "-n", "-W30", *args], capture_output=True, text=True)
    said = [w for w in (" 0% packet loss", "exceeded", "nreachable", "rohibited") if w in r.stdout]
    return "%d %s" % (r.returncode, said)
for a, gone, closed, silent, far in (("192.0.2.2", "198.51.100.1", "198.51.101.1", "198.51.102.1", "203.0.113.9"), ("2001:db8::2", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "2001:db8:9::9")):
    show(("echo " + a, lambda a=a: echo(a)),
        ("half-close " + a, lambda a=a: answer(a)),
        ("peer closes first " + a, lambda a=a: peer_closes_first(a)),
        ("reset " + a, lambda a=a: reset(a)),
        ("resets " + a, lambda a=a: resets(a)),
        ("refused " + a, lambda a=a: conn(a, 1)),
        ("udp refused " + a, lambda a=a: udp_error(a)))
    show(*[("udp %d %s" % (size, a), lambda a=a, size=size: udp(a, size)) for size in (0, 1, 1400, 9000, 60000)])
    show(("unreachable " + gone, lambda gone=gone: conn(gone, 80)),
        ("prohibited " + closed, lambda closed=closed: conn(closed, 80)),
        ("udp unreachable " + gone, lambda gone=gone: udp_error(gone)),
        ("udp prohibited " + closed, lambda closed=closed: udp_error(closed)),
        ("udp ttl 1 " + far, lambda far=far: udp_error(far, 1)))
    show(("no answer " + silent, lambda silent=silent: conn(silent, 80, None)))
    show(("ping " + a, lambda a=a: ping("-c1", a)),
        ("ping large " + a, lambda a=a: ping("-c1", "-s20000", a)),
        ("ping unreachable " + gone, lambda gone=gone: ping("-c1", gone)),
        ("ping ttl 1 " + far, lambda far=far: ping("-c1", "-t1", far)))
show(("keep-alive", lambda: keepalive("192.0.2.2")))
show(("no way", lambda: conn("198.51.103.1", 80)), ("link-local", lambda: conn("fe80::1", 80)))
for t in threads: t.start()
for t in threads: t.join()
for mine in lines:
    for l in mine: print(l)
`

// TestOutsideHosts: whatever a program does to other machines gets the same answers
// and the same errors under Clipper as without it.
func TestOutsideHosts(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		host, outside := lan(t)
		host.ip("route add unreachable 198.51.103.0/24")
		outside.listenUDP(":7000", func(b []byte) []byte { return b })
		outside.listen(":7000", func(c *net.TCPConn) { io.Copy(c, c) })
		outside.listen(":7001", func(c *net.TCPConn) {
			c.Read(make([]byte, 100))
			c.SetLinger(0)
		})
		outside.listen(":7002", func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			io.WriteString(c, "answer to "+string(b))
		})
		ends := make(chan string, 2)
		outside.listen(":7003", func(c *net.TCPConn) {
			c.Read(make([]byte, 100))
			io.WriteString(c, "ok")
			_, err := c.Read(make([]byte, 100))
			ends <- err.Error()
		})
		outside.listen(":7004", func(c *net.TCPConn) {
			_, what, _ := strings.Cut(<-ends, ": ")
			io.WriteString(c, what)
		})
		outside.listen(":7005", func(c *net.TCPConn) {
			io.WriteString(c, "no more from here")
			c.CloseWrite()
			io.Copy(io.Discard, c)
		})
		script := func(name string) (path string) {
			path = filepath.Join(w.dir(t), name)
			writeFile(t, path, outsideScript)
			return path
		}
		file := script("outside.py")
		native := host.finish(w.command(t, "/usr/bin/python3", file))
		r := host.finish(w.command(t, clipper(t), "up", "--no-devtools", "-q", "--", "/usr/bin/python3", file))
		if native.code != 0 || r.code != 0 {
			t.Fatalf("exit %d %s\nunder clipper: exit %d %s", native.code, native.stderr, r.code, r.stderr)
		}
		sameLines(t, r.stdout, native.stdout)
		nothingLeft(t, r)
	})
}
