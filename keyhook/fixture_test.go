package keyhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tlsServer is an HTTPS server that logs its own secrets: the truth.
type tlsServer struct {
	URL    string
	addr   *net.TCPAddr
	mu     sync.Mutex
	log    bytes.Buffer
	logged *sync.Cond // by mu
}

func (s *tlsServer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logged.Broadcast()
	return s.log.Write(b)
}

// await waits until n lines have been logged since the last call of lines.
func (s *tlsServer) await(t testing.TB, n int) {
	t.Helper()
	hangs := false
	guard := time.AfterFunc(5*time.Minute, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		hangs = true
		s.logged.Broadcast()
	})
	defer guard.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for bytes.Count(s.log.Bytes(), []byte("\n")) < n {
		if hangs {
			t.Fatalf("%d lines, want %d", bytes.Count(s.log.Bytes(), []byte("\n")), n)
		}
		s.logged.Wait()
	}
}

// lines takes what was logged since the last call.
func (s *tlsServer) lines() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.log.Reset()
	return keyLogLines(s.log.String())
}

func keyLogLines(log string) map[string]bool {
	m := map[string]bool{}
	for l := range strings.Lines(log) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			m[strings.ToLower(l)] = true
		}
	}
	return m
}

func newServer(t testing.TB, version uint16) *tlsServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{URL: "https://" + l.Addr().String() + "/", addr: l.Addr().(*net.TCPAddr)}
	s.logged = sync.NewCond(&s.mu)
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   version, MaxVersion: version, KeyLogWriter: s},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello", r.UserAgent()) })}
	go srv.ServeTLS(l, "", "")
	t.Cleanup(func() { srv.Close() })
	return s
}

// bench is what all tests of real programs share.
type bench struct {
	dir  string // readable by everybody
	self string // the test binary there
	user *syscall.Credential
}

// newBench makes a world-readable directory and a fresh unprivileged user.
func newBench(t testing.TB) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "keyhook-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, self: filepath.Join(dir, "clipper")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.self, bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		b.user = newUser(t)
	}
	return b
}

// newUser adds a user for the time of the test.
func newUser(t testing.TB) *syscall.Credential {
	t.Helper()
	name := fmt.Sprintf("keyhook%d", os.Getpid())
	if out, err := exec.Command("useradd", "--no-create-home", "--shell", "/bin/sh", name).CombinedOutput(); err != nil {
		t.Logf("SKIPPED: runs as an unprivileged user: useradd: %v %s", err, out)
		return nil
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v %s", err, out)
		}
	})
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// build compiles a Go program of testdata.
func (b *bench) build(t testing.TB, pkg, out string, args ...string) string {
	t.Helper()
	path := filepath.Join(b.dir, out)
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, args...), "./testdata/"+pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if o, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", out, err, o)
	}
	return path
}

// cc compiles a C program of testdata, or skips the test.
func (b *bench) cc(t testing.TB, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("SKIPPED: no gcc")
	}
	if o, err := exec.Command(cc, append([]string{"-O1", "-w", "-o", path, "testdata/c/" + name + ".c"}, args...)...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: cannot build %s: %v\n%s", name, err, o)
	}
	return path
}

// file copies a file of testdata to where everybody can read it.
func (b *bench) file(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, filepath.Base(name))
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// outcome is what a run of RunKeys gave.
type outcome struct {
	code    int
	stdout  string
	stderr  string
	keyLog  string
	objects []secretJSON
	events  []map[string]any
}

// run runs a command under `keys`, as root or as the unprivileged user.
func (b *bench) run(t testing.TB, as *syscall.Credential, env []string, argv ...string) outcome {
	t.Helper()
	return b.start(t, as, env, nil, argv...).wait()
}

// running is a command under `keys`.
type running struct {
	t               testing.TB
	cmd             *exec.Cmd
	stdout, stderr  bytes.Buffer
	keyLog, objects string
	hang            *time.Timer
}

// start starts a command as run does.
func (b *bench) start(t testing.TB, as *syscall.Credential, env []string, stdin io.Reader, argv ...string) *running {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		t.Fatal(err)
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	r := &running{t: t, keyLog: filepath.Join(dir, "keys.log"), objects: filepath.Join(dir, "keys.json")}
	cmd := exec.Command(b.self, append([]string{"keys", r.keyLog, r.objects}, argv...)...)
	r.cmd = cmd
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "HOME=" + dir}, env...)
	cmd.Dir = dir
	if as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &r.stdout, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.hang = time.AfterFunc(5*time.Minute, func() {
		t.Errorf("%q hangs", argv)
		cmd.Process.Kill()
	})
	return r
}

// wait waits for its end and reads what it left.
func (r *running) wait() outcome {
	t := r.t
	t.Helper()
	r.cmd.Wait()
	r.hang.Stop()
	o := outcome{code: r.cmd.ProcessState.ExitCode(), stdout: r.stdout.String(), stderr: r.stderr.String()}
	if log, err := os.ReadFile(r.keyLog); err == nil {
		o.keyLog = string(log)
	}
	objects, err := os.ReadFile(r.objects)
	if err != nil {
		t.Fatalf("%v\n%s", err, o.stderr)
	}
	for line := range bytes.Lines(objects) {
		var s secretJSON
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if s.Type == "secret" {
			o.objects = append(o.objects, s)
			continue
		}
		var e map[string]any
		json.Unmarshal(line, &e)
		o.events = append(o.events, e)
	}
	return o
}

// missing is what the server logged and we did not.
func (o *outcome) missing(truth map[string]bool) (n int) {
	ours := keyLogLines(o.keyLog)
	for l := range truth {
		if !ours[l] {
			n++
		}
	}
	return n
}

// clientRandoms are the connections of a key log.
func clientRandoms(lines map[string]bool) map[string]bool {
	randoms := map[string]bool{}
	for l := range lines {
		randoms[strings.Fields(l)[1]] = true
	}
	return randoms
}

// check wants the program's success and every secret, each once.
func (o *outcome) check(t testing.TB, truth map[string]bool, connections int) {
	t.Helper()
	if o.code != 0 {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if n := len(clientRandoms(truth)); n != connections {
		t.Errorf("%d connections reached the server, want %d", n, connections)
	}
	if n := o.missing(truth); n > 0 {
		t.Errorf("%d of the server's %d secrets are missing in our %d\n%s%s", n, len(truth), len(o.objects), o.stderr, o.hooks())
	}
	if got := strings.Count(o.keyLog, "\n"); got != len(keyLogLines(o.keyLog)) {
		t.Errorf("some of %d lines come twice", got)
	}
}

// hooks lists the hook events.
func (o *outcome) hooks() string {
	var s string
	for _, e := range o.events {
		if e["type"] == "hook" {
			s += fmt.Sprintln(e["exe"], e["library"], e["state"], e["reason"])
		}
	}
	return s
}
