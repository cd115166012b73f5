package integration

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTools runs what people run: everything works as it does on the host.
func TestTools(t *testing.T) {
	for _, program := range []string{"ssh", "/usr/sbin/sshd", "git", "iperf3", "nc", "ping"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	everybody(t, func(t *testing.T, w who) {
		host, outside := lan(t)
		withResolver(t, host)
		dir := w.dir(t)
		up := func(t *testing.T, script string, flags ...string) result {
			t.Helper()
			argv := append([]string{clipper(t), "up", "-q", "--no-devtools"}, flags...)
			cmd := w.command(t, append(argv, "--", "sh", "-c", script)...)
			cmd.Dir = dir
			return host.finish(cmd)
		}
		t.Run("ssh", func(t *testing.T) {
			key := sshServer(t, host, w)
			// What a distribution puts there, owned by root as everything is.
			host.sh("mkdir", "-p", "/etc/ssh/ssh_config.d")
			host.sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/etc/ssh/ssh_config.d")
			host.sh("sh", "-c", `echo "SendEnv NOTHING" >/etc/ssh/ssh_config.d/10-distribution.conf`)
			options := "-i " + key + " -o Port=2222 -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
			user := w.name
			if user == "" {
				user = "root"
			}
			r := up(t, fmt.Sprintf(`ssh %[1]s %[2]s@localhost 'echo $((6*7)); exit 6'; echo status $?
				head -c 3000000 /dev/urandom >up && scp -q %[1]s up %[2]s@localhost:%[3]s/copy && scp -q %[1]s %[2]s@localhost:%[3]s/copy back && cmp up back && echo same`, options, user, dir))
			if r.code != 0 || r.stdout != "42\nstatus 6\nsame\n" || r.stderr != "" {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
		t.Run("git", func(t *testing.T) {
			gitServer(t, outside)
			r := up(t, `set -e; export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
				git clone -q http://git.example.test:8000/repo.git; cd repo; cat file; echo two >>file; git commit -q -a -m two; git push -q
				git clone -q http://git.example.test:8000/repo.git ../again; git -C ../again log --format=%s; git status --short`)
			if r.code != 0 || r.stdout != "one\ntwo\none\n" {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
		t.Run("ping", func(t *testing.T) {
			r := up(t, `for a in 127.0.0.1 localhost 10.0.2.2 192.0.2.2 www.example.test 2001:db8::2; do ping -c1 -W30 $a >/dev/null && echo ok; done`)
			if r.stdout != strings.Repeat("ok\n", 6) {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
		t.Run("python servers", func(t *testing.T) {
			files := filepath.Join(root.dir(t), "files")
			os.MkdirAll(files, 0o755)
			writeFile(t, filepath.Join(files, "name"), "host\n")
			os.Chmod(filepath.Dir(files), 0o755)
			server := exec.Command("/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "7081")
			server.Dir = files
			host.start(server)
			six := exec.Command("/usr/bin/python3", "-m", "http.server", "--bind", "::1", "7082")
			six.Dir = files
			host.start(six)
			curl := "curl -sS --retry 50 --retry-delay 1 --retry-connrefused"
			// The server inside takes a port that the host has, too, and wins.
			r := up(t, curl+` http://localhost:7081/name; `+curl+` http://127.0.0.1:7081/name; `+curl+` http://localhost:7082/name; `+curl+` http://[::1]:7082/name
				echo inside >name; python3 -m http.server --bind 127.0.0.1 7081 >log 2>&1 & server=$!
				until [ "$(curl -sS http://localhost:7081/name)" = inside ]; do sleep 0.1; done; echo wins; kill $server; wait`)
			if r.code != 0 || r.stdout != "host\nhost\nhost\nhost\nwins\n" {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
		t.Run("iperf3", func(t *testing.T) {
			server := exec.Command("iperf3", "-s", "-1", "-B", "192.0.2.2", "-p", "7083")
			outside.start(server)
			r := up(t, `for i in $(seq 100); do iperf3 -c 192.0.2.2 -p 7083 -n 20M -P 2 --json >json && break; sleep 0.1; done; grep -c '"sender":' json`)
			if r.code != 0 {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
		t.Run("nc", func(t *testing.T) {
			outside.listen("192.0.2.2:7084", func(c *net.TCPConn) { c.ReadFrom(c) })
			outside.listenUDP("192.0.2.2:7085", func(b []byte) []byte { return b })
			r := up(t, `echo tcp | nc -N 192.0.2.2 7084; echo udp | nc -u -W1 192.0.2.2 7085; nc -z 192.0.2.2 1 || echo refused
				nc -lU socket & until [ -S socket ]; do sleep 0.05; done; echo unix | nc -NU socket; wait`)
			if r.code != 0 || r.stdout != "tcp\nudp\nrefused\nunix\n" {
				t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	})
}

// TestClipperInClipper: Clipper runs what it is told under Clipper, too. Only one of
// the two can have the hook, and the other says so.
func TestClipperInClipper(t *testing.T) {
	url := hostHTTP(t)
	everybody(t, func(t *testing.T, w who) {
		up := []string{clipper(t), "up", "--no-devtools"}
		r := finish(t, w.command(t, slices.Concat(up, []string{"-q", "--har", "outer.har", "--"}, up, []string{"--", "sh", "-c", "curl -sS " + url + "; exit 7"})...))
		r.wants(t, 7, "runs under another clipper", "GET")
		if r.stdout != "hello" {
			t.Errorf("stdout %q", r.stdout)
		}
		if !strings.Contains(string(readFile(t, filepath.Join(r.dir, "outer.har"))), url) {
			t.Error("the outer session has not seen the request")
		}
	})
}

// sshServer runs an sshd on the host's 127.0.0.1:2222 that lets w in with the key.
func sshServer(t *testing.T, host *machine, w who) (key string) {
	t.Helper()
	dir := root.dir(t)
	os.Chmod(dir, 0o755)
	key = filepath.Join(w.dir(t), "key")
	for _, k := range []string{filepath.Join(dir, "host"), key} {
		if b, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v %s", err, b)
		}
	}
	if w.name != "" {
		os.Chown(key, w.uid, w.gid)
		if b, err := exec.Command("usermod", "-p", "*", w.name).CombinedOutput(); err != nil { // no password, but not locked
			t.Fatalf("usermod: %v %s", err, b)
		}
	}
	writeFile(t, filepath.Join(dir, "authorized"), string(readFile(t, key+".pub")))
	conf := filepath.Join(dir, "conf")
	writeFile(t, conf, fmt.Sprintf("ListenAddress 127.0.0.1:2222\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
		filepath.Join(dir, "host"), filepath.Join(dir, "authorized")))
	host.start(exec.Command("/usr/sbin/sshd", "-D", "-f", conf))
	eventually(t, "sshd listens", func() bool {
		var c net.Conn
		var err error
		host.do(func() { c, err = net.Dial("tcp", "127.0.0.1:2222") })
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return key
}

// gitServer serves a repository with one commit by git's own HTTP server, to be
// cloned and pushed to.
func gitServer(t *testing.T, m *machine) {
	t.Helper()
	dir := root.dir(t)
	git := func(args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, b)
		}
	}
	git("init", "-q", "work")
	writeFile(t, filepath.Join(dir, "work", "file"), "one\n")
	git("-C", "work", "add", "file")
	git("-C", "work", "commit", "-q", "-m", "one")
	git("clone", "-q", "--bare", "work", "repo.git")
	git("-C", "repo.git", "config", "http.receivepack", "true")
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	m.do(func() { l, err = net.Listen("tcp", "192.0.2.2:8000") })
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + dir}}}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}
