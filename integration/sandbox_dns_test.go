package integration

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withResolver gives a machine a resolver where systemd-resolved has its own, and
// in front of it the C library's cache.
func withResolver(t *testing.T, m *machine) {
	t.Helper()
	for _, program := range []string{"dnsmasq", "nscd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	m.sh("mount", "-t", "tmpfs", "tmpfs", "/run")
	m.sh("mkdir", "-p", "/run/nscd", "/run/sshd", "/run/systemd/resolve")
	m.file("/etc/resolv.conf", "nameserver 192.0.2.1\nnameserver 127.0.0.53\nsearch nowhere.test example.test\noptions edns0 trust-ad timeout:20\n")
	m.file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n192.0.2.2\tinhosts\n")
	m.start(exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--bind-interfaces", "--listen-address=127.0.0.53",
		"--local=/test/", "--address=/www.example.test/192.0.2.2", "--address=/www.example.test/2001:db8::2", "--address=/git.example.test/192.0.2.2",
		"--txt-record=long.example.test,"+strings.Repeat("x", 250)+","+strings.Repeat("y", 250)+","+strings.Repeat("z", 250)))
	eventually(t, "the resolver answers", func() bool {
		ok := false
		m.do(func() {
			ok = exec.Command("dig", "+time=1", "+tries=1", "@127.0.0.53", "www.example.test").Run() == nil
		})
		return ok
	})
	conf := filepath.Join(root.dir(t), "nscd.conf")
	writeFile(t, conf, "enable-cache hosts yes\npositive-time-to-live hosts 600\nnegative-time-to-live hosts 600\ncheck-files hosts yes\n")
	m.start(exec.Command("nscd", "-F", "-f", conf))
	eventually(t, "nscd answers", func() bool {
		var err error
		m.do(func() { _, err = os.Stat("/run/nscd/socket") })
		return err == nil
	})
	var l net.Listener
	var err error
	m.do(func() { l, err = net.Listen("unix", "/run/systemd/resolve/io.systemd.Resolve") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestNames: names mean under Clipper what they mean on the host, by the host's own
// resolver and configuration, and the look-ups are in the capture although the
// host's cache knows the answers.
func TestNames(t *testing.T) {
	const script = `
say() { echo "$*:" $("$@" 2>&1 | grep -v '^;'); }
say getent ahosts www.example.test
say getent ahosts www
say getent hosts inhosts
say getent ahosts nothing.example.test
say dig +short www.example.test A
say dig +short www.example.test AAAA
say dig +short +search www
say dig +short +tcp www.example.test
say dig +short +bufsize=512 long.example.test TXT
say dig +noall +comments nothing.test
say dig +short @127.0.0.53 www.example.test
say sh -c "grep -v ^nameserver /etc/resolv.conf"
say curl -sS -o /dev/null -w %{http_code} http://www:7080/
getent hosts nothing.test; echo $?
`
	everybody(t, func(t *testing.T, w who) {
		host, outside := lan(t)
		withResolver(t, host)
		outside.listen("192.0.2.2:7080", func(c *net.TCPConn) {
			c.Read(make([]byte, 1000))
			c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		})
		native := host.finish(w.command(t, "sh", "-c", script))
		if !strings.Contains(native.stdout, "192.0.2.2") {
			t.Fatalf("the host itself finds nothing: %s %s", native.stdout, native.stderr)
		}
		r := host.finish(w.command(t, clipper(t), "up", "-q", "--no-devtools", "-w", "out.pcapng", "--", "sh", "-c", script))
		r.wants(t, 0)
		sameLines(t, r.stdout, native.stdout)
		packets := readFile(t, filepath.Join(r.dir, "out.pcapng"))
		for _, name := range []string{"\x03www\x07example\x04test\x00", "\x07nothing\x07example\x04test\x00", "\x04long\x07example\x04test\x00"} {
			if !bytes.Contains(packets, []byte(name)) {
				t.Errorf("the look-up of %q is not in the capture", name)
			}
		}
		// Neither of the host's caches can be asked.
		const ask = `import socket
for path in ("/run/nscd/socket", "/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve"):
    try: socket.socket(socket.AF_UNIX).connect(path); print(path, "answers")
    except OSError as e: print(e.strerror)`
		r = host.finish(w.command(t, clipper(t), "up", "-q", "--no-devtools", "--", "/usr/bin/python3", "-c", ask))
		if want := strings.Repeat("Connection refused\n", 3); r.stdout != want || r.code != 0 {
			t.Errorf("exit %d %q %s", r.code, r.stdout, r.stderr)
		}
	})
}
