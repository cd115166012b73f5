package keyhook

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// hostPort splits a URL for programs that want it so.
func hostPort(url string) (string, string) {
	host, port, _ := strings.Cut(strings.Trim(strings.TrimPrefix(url, "https://"), "/"), ":")
	return host, port
}

// TestCircumstances runs programs that start, load or live in unusual ways.
func TestCircumstances(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	curl := []string{"/usr/bin/curl", "-sk", srv.URL}
	under := func(program string) []string { return append([]string{program}, curl...) }
	run := func(t *testing.T, connections int, argv ...string) outcome {
		srv.lines()
		o := b.run(t, b.user, nil, argv...)
		o.check(t, srv.lines(), connections)
		return o
	}
	t.Run("own seccomp filter", func(t *testing.T) { run(t, 1, under(b.cc(t, "ownfilter"))...) })
	t.Run("exec in a thread", func(t *testing.T) { run(t, 1, under(b.cc(t, "threadexec", "-pthread"))...) })
	t.Run("execveat of a memfd", func(t *testing.T) {
		run(t, 1, append([]string{b.cc(t, "memfdexec"), b.build(t, "goclient", "go-memfd")}, srv.URL)...)
	})
	t.Run("vfork, posix_spawn, daemon", func(t *testing.T) { run(t, 3, under(b.cc(t, "vfork"))...) })
	t.Run("exec chain with an environment of its own", func(t *testing.T) {
		run(t, 1, "/bin/sh", "-c", `exec nice env -i A=b /bin/sh -c "exec /usr/bin/env -u A /usr/bin/curl -sk $1"`, "sh", srv.URL)
	})
	t.Run("all descriptors closed", func(t *testing.T) {
		// Once before the exec, and once in a program that is hooked already and
		// then becomes a daemon.
		run(t, 2, "/usr/bin/python3", "-c", `
import os, ssl, sys, urllib.request
if os.fork() == 0:
    os.closerange(3, 4096)
    os.execv("/usr/bin/curl", ["curl", "-sk", sys.argv[1]])
os.wait()
ssl.create_default_context()
done, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, told)
        os.closerange(told + 1, 4096)
        urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read()
        os.write(told, b"x")
    os._exit(0)
os.close(told)
os.read(done, 1)
`, srv.URL)
	})
	t.Run("fork of a hooked program", func(t *testing.T) {
		o := run(t, 2, "/usr/bin/python3", "-c", `
import os, ssl, sys, urllib.request
def get():
    urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read()
get()
child = os.fork()
if child == 0:
    get()
    os._exit(0)
os.wait()
print(os.getpid(), child)
`, srv.URL)
		pids := map[string]bool{}
		for _, s := range o.objects {
			pids[strconv.Itoa(s.PID)] = true
		}
		// Where the child is gone when its secrets are read, they are its parent's.
		for _, p := range strings.Fields(o.stdout) {
			delete(pids, p)
		}
		if len(pids) != 0 {
			t.Errorf("secrets of other processes than %s: %v", o.stdout, pids)
		}
	})
	t.Run("explicit ld.so", func(t *testing.T) { run(t, 1, under("/lib64/ld-linux-x86-64.so.2")...) })
	t.Run("script by #!", func(t *testing.T) {
		script := filepath.Join(b.dir, "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh\nexec /usr/bin/curl -sk \"$1\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, 1, script, srv.URL)
	})
	t.Run("nested user namespace", func(t *testing.T) {
		run(t, 1, append([]string{"/usr/bin/unshare", "-Ur", "--mount", "--fork", "--pid"}, curl...)...)
	})
	t.Run("dlopen in threads under signals", func(t *testing.T) {
		o := b.run(t, b.user, nil, b.cc(t, "threads", "-pthread", "-ldl"), "libssl.so.3")
		if o.code != 0 || o.stdout != "ok, with alarms\n" {
			t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
		}
	})
	for _, when := range []string{"before", "after"} {
		t.Run("callback of its own, set "+when+" SSL_new", func(t *testing.T) {
			o := run(t, 1, b.cc(t, "chain", "-lssl", "-lcrypto"), "127.0.0.1", strconv.Itoa(srv.addr.Port), when)
			if got, want := keyLogLines(o.stdout), keyLogLines(o.keyLog); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("its own callback got\n%s\nnot\n%s", o.stdout, o.keyLog)
			}
		})
	}
	t.Run("16 threads at once", func(t *testing.T) {
		run(t, 16*20, b.build(t, "goclient", "go-threads"), srv.URL, "20", "16")
	})
	t.Run("32-bit program before", func(t *testing.T) {
		run(t, 1, under(b.cc(t, "exec32", "-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector"))...)
	})
	t.Run("musl", func(t *testing.T) {
		testMusl(t, b)
	})
	t.Run("session resumption", func(t *testing.T) {
		host, port := hostPort(srv.URL)
		client := "/usr/bin/openssl s_client -connect " + host + ":" + port
		run(t, 2, "/bin/sh", "-c", "(sleep 0.3; echo Q) | "+client+" -sess_out s.pem >/dev/null 2>&1; echo Q | "+client+" -sess_in s.pem 2>/dev/null | grep -q Reused,")
	})
	t.Run("Java without room for an agent", func(t *testing.T) {
		jlink, err := exec.LookPath("jlink")
		if err != nil {
			t.Skip("no JDK")
		}
		runtime := filepath.Join(b.dir, "runtime")
		if out, err := exec.Command(jlink, "--add-modules", "java.base", "--strip-debug", "--output", runtime).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		o := b.run(t, b.user, nil, filepath.Join(runtime, "bin/java"), "-version")
		if o.code != 0 || !strings.Contains(o.hooks(), "without the module java.instrument") {
			t.Errorf("exit code %d\n%s%s", o.code, o.stderr, o.hooks())
		}
	})
	for _, tracer := range [][]string{{"/usr/bin/strace", "-f", "-o", "/dev/null"}, {"/usr/bin/gdb", "-batch", "-ex", "run", "--args"}} {
		t.Run("under "+tracer[0], func(t *testing.T) {
			if _, err := os.Stat(tracer[0]); err != nil {
				t.Skip("SKIPPED: not installed")
			}
			srv.lines()
			o := b.run(t, b.user, nil, append(tracer, curl...)...)
			if o.code != 0 || !strings.Contains(o.stdout, "hello") {
				t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
			}
			// Either no secrets and the reason, or, where the tracer lets it, all.
			if n := o.missing(srv.lines()); n > 0 && !strings.Contains(o.hooks(), "being traced already") {
				t.Errorf("%d secrets are missing without a reason:\n%s", n, o.hooks())
			}
		})
	}
	t.Run("no tracer afterwards", func(t *testing.T) {
		o := run(t, 1, "/usr/bin/python3", "-c", `
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read()
print([l for l in open("/proc/self/status") if l.startswith(("TracerPid", "SigBlk"))])
`, srv.URL)
		if want := `['TracerPid:\t0\n', 'SigBlk:\t0000000000000000\n']` + "\n"; o.stdout != want {
			t.Errorf("%q, want %q", o.stdout, want)
		}
	})
}

// TestStalledSupervisor stops the supervisor while 16 threads make handshakes:
// none of them waits for it, and nothing is lost.
func TestStalledSupervisor(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	const threads, each, labels = 16, 20, 4
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	client := b.build(t, "goclient", "go-stall")
	r := b.start(t, b.user, nil, in, client, srv.URL, strconv.Itoa(each), strconv.Itoa(threads), "wait")
	in.Close()
	srv.await(t, labels) // it is hooked, and waits
	r.cmd.Process.Signal(syscall.SIGSTOP)
	feed.Write([]byte("\n"))
	srv.await(t, labels*(1+threads*each))
	r.cmd.Process.Signal(syscall.SIGCONT)
	o := r.wait()
	o.check(t, srv.lines(), 1+threads*each)
}

// TestOldKernel does without WAIT_KILLABLE_RECV: calls are interrupted and
// restarted.
func TestOldKernel(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	old := []string{"KEYHOOK_TEST_OLD=1"}
	for name, argv := range map[string][]string{
		"curl":    {"/usr/bin/curl", "-sk", srv.URL},
		"Go":      {b.build(t, "goclient", "go-old"), srv.URL},
		"in a sh": {"/bin/sh", "-c", "/no/such/thing 2>/dev/null; /usr/bin/python3 " + b.file(t, "scripts/get.py") + " " + srv.URL},
	} {
		t.Run(name, func(t *testing.T) {
			srv.lines()
			o := b.run(t, b.user, old, argv...)
			o.check(t, srv.lines(), 1)
		})
	}
	t.Run("dlopen in threads under signals", func(t *testing.T) {
		o := b.run(t, b.user, old, b.cc(t, "threads", "-pthread", "-ldl"), "libssl.so.3")
		if o.code != 0 || o.stdout != "ok, with alarms\n" {
			t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
		}
	})
}

// testMusl wants the hook placed under musl's dynamic linker, and with it.
func testMusl(t *testing.T, b *bench) {
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		t.Skip("SKIPPED: no musl-gcc")
	}
	cc := func(out string, args ...string) string {
		path := filepath.Join(b.dir, out)
		if o, err := exec.Command("musl-gcc", append([]string{"-O1", "-w", "-o", path}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", out, err, o)
		}
		return path
	}
	for _, layout := range []string{"separate-code", "noseparate-code"} {
		lib := cc("libfakessl.so", "-shared", "-fPIC", "-Wl,-z,"+layout, "testdata/c/fakessl.c")
		for kind, program := range map[string]string{
			"dynamic": cc("musl-dynamic", "testdata/c/fakemain.c", lib, "-Wl,-rpath,"+b.dir),
			"static":  cc("musl-static", "-static", "-Wl,-z,"+layout, "testdata/c/fakemain.c", "testdata/c/fakessl.c"),
		} {
			o := b.run(t, b.user, nil, program)
			if o.code != 0 || o.keyLog == "" || o.stdout != o.keyLog {
				t.Errorf("%s, %s: exit code %d, its callback got %q, we %q\n%s%s", kind, layout, o.code, o.stdout, o.keyLog, o.stderr, o.hooks())
			}
		}
	}
}

// TestExitCodes wants a shell's.
func TestExitCodes(t *testing.T) {
	b := newBench(t)
	plain := filepath.Join(b.dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv []string
		want int
	}{
		{[]string{"/bin/true"}, 0},
		{[]string{"/bin/sh", "-c", "exit 42"}, 42},
		{[]string{"/bin/sh", "-c", "kill -9 $$"}, 137},
		{[]string{"no-such-program"}, 127},
		{[]string{plain}, 126},
	} {
		if o := b.run(t, b.user, nil, c.argv...); o.code != c.want {
			t.Errorf("%q: exit code %d, want %d: %s", c.argv, o.code, c.want, o.stderr)
		}
	}
}

// TestUsersKeyLog: the user's own SSLKEYLOGFILE is filled, by the programs
// that honour it and for those that do not, each line once.
func TestUsersKeyLog(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	path := filepath.Join(t.TempDir(), "users.log")
	const old = "# from before\n"
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	script := "curl -sk " + srv.URL + " && " + b.build(t, "goclient", "go-user") + " " + srv.URL
	o := b.run(t, nil, []string{"SSLKEYLOGFILE=" + path}, "/bin/sh", "-c", script)
	truth := srv.lines()
	o.check(t, truth, 2)
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs := outcome{keyLog: string(log)}
	if !strings.HasPrefix(theirs.keyLog, old) || theirs.missing(truth) != 0 {
		t.Errorf("the user's file lacks %d secrets of %d:\n%s", theirs.missing(truth), len(truth), log)
	}
	if n := strings.Count(theirs.keyLog, "\n") - strings.Count(old, "\n"); n != len(keyLogLines(theirs.keyLog)) {
		t.Errorf("some of the %d lines come twice:\n%s", n, log)
	}
}

// TestEvents looks at the process events of a small tree.
func TestEvents(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	o := b.run(t, b.user, nil, "/bin/sh", "-c", "/usr/bin/curl -sk "+srv.URL+"; /bin/true; /no/such/thing 2>/dev/null; exit 0")
	o.check(t, srv.lines(), 1)
	var got, exits []string
	pids := map[any]string{}
	for _, e := range o.events {
		exe, _ := e["exe"].(string)
		name := filepath.Base(exe)
		switch e["type"] {
		case "exec":
			if _, again := pids[e["parent"]]; e["parent"] == nil || !again && name == "curl" {
				t.Errorf("parent %v of %s", e["parent"], name)
			}
			pids[e["pid"]] = name
			got = append(got, fmt.Sprint("exec ", name, " ", len(e["argv"].([]any)), " arguments"))
		case "exit":
			exits = append(exits, pids[e["pid"]]) // in no certain order
		case "hook":
			if e["library"] == "openssl" {
				got = append(got, fmt.Sprint("hook ", name, " ", e["library"], " ", e["state"]))
			}
		}
	}
	want := []string{"exec dash 3 arguments", "exec curl 3 arguments", "hook curl openssl placed", "exec true 1 arguments"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if slices.Sort(exits); strings.Join(exits, " ") != "curl dash true" {
		t.Errorf("exits: %v", exits)
	}
	for _, s := range o.objects {
		if pids[float64(s.PID)] != "curl" || s.TID != s.PID || s.Exe != "/usr/bin/curl" {
			t.Errorf("a secret of pid %d, tid %d, %s", s.PID, s.TID, s.Exe)
		}
	}
}
