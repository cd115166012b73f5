package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// session is a running `clipper up` whose app waits for a line on standard
// input before it ends, and runs each line that it gets before as a script.
type session struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr syncBuffer
}

func startSession(t *testing.T, w who, flags ...string) *session {
	t.Helper()
	argv := append([]string{clipper(t), "up"}, flags...)
	s := &session{cmd: w.command(t, append(argv, "--", "sh", "-c", `while read -r line; do eval "$line"; echo done; done`)...)}
	s.stdin, _ = s.cmd.StdinPipe()
	out, _ := s.cmd.StdoutPipe()
	s.stdout = bufio.NewReader(out)
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	return s
}

// do runs a line of shell in the sandbox.
func (s *session) do(t *testing.T, line string) {
	t.Helper()
	fmt.Fprintln(s.stdin, line)
	for {
		l, err := s.stdout.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, s.stderr.String())
		}
		if l == "done\n" {
			return
		}
	}
}

func (s *session) end(t *testing.T) {
	t.Helper()
	s.stdin.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.stderr.String())
	}
	nothingLeft(t, result{dir: s.cmd.Dir})
}

// clipper runs another command of the same user against the session.
func (s *session) clipper(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	r := finish(t, beside(s.cmd, args...))
	return r.stdout, r.stderr, r.code
}

// tap runs a tap that finds something to print, and returns when it has begun:
// from then on the session waits for it. The function that it returns waits for
// the tap's end and gives what it printed.
func (s *session) tap(t *testing.T, args ...string) (end func() string) {
	t.Helper()
	cmd := beside(s.cmd, append([]string{"tap"}, args...)...)
	var out, errs syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	eventually(t, fmt.Sprint("tap ", args, " has begun"), func() bool { return out.String() != "" || len(ended) > 0 })
	return func() string {
		t.Helper()
		if err := <-ended; err != nil {
			t.Errorf("tap %v: %v %s", args, err, errs.String())
		}
		return out.String()
	}
}

func TestSessionCommands(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t), "--har", "out.har")
	curl := func(path string) string {
		return fmt.Sprintf("curl --http1.1 -sS -o /dev/null --cacert %s %s/json/%s", ca, srv.URL, path)
	}
	s.do(t, curl("one"))

	rows := ps(t, s.cmd)
	if len(rows) != 1 || rows[0].PID != s.cmd.Process.Pid || !strings.HasPrefix(rows[0].DevTools, "http://127.0.0.1:") {
		t.Fatalf("ps: %+v", rows)
	}
	if out, _, code := s.clipper(t, "ps"); code != 0 || !strings.Contains(out, "tlsdec") || !strings.Contains(out, rows[0].ID) {
		t.Errorf("ps: exit %d\n%s", code, out)
	}
	// Taps see the session from its beginning and end with it.
	taps := map[string]func() string{}
	for layer, args := range map[string][]string{"http": {"--json"}, "plain": {"--hex"}, "tcp": {"--hex"}, "proc": nil, "frames": nil, "frames as a file": {"-w", "-"}} {
		taps[layer] = s.tap(t, append([]string{strings.Fields(layer)[0]}, args...)...)
	}
	if _, stderr, code := s.clipper(t, "tap", "keys"); code != 125 || !strings.Contains(stderr, "never leave") {
		t.Errorf("tap keys: exit %d %q", code, stderr)
	}
	if _, stderr, code := s.clipper(t, "restart", "nobody"); code != 125 || !strings.Contains(stderr, "nobody") {
		t.Errorf("restart nobody: exit %d %q", code, stderr)
	}

	before := rolePID(t, s.cmd, "httpdec")
	if _, stderr, code := s.clipper(t, "restart", "httpdec"); code != 0 {
		t.Errorf("restart: exit %d %s", code, stderr)
	}
	eventually(t, "another httpdec", func() bool { return rolePID(t, s.cmd, "httpdec") != before })
	s.do(t, curl("two"))
	own := build(t, "clipper/tlsdec/cmd/tlsdec")
	if _, stderr, code := s.clipper(t, "swap", "--go-on", "tlsdec", own); code != 0 {
		t.Errorf("swap: exit %d %s", code, stderr)
	}
	s.do(t, curl("three"))
	s.end(t)

	sameAsServer(t, readHAR(t, filepath.Join(s.cmd.Dir, "out.har")), srv.Log())
	outs := map[string]string{}
	for layer, end := range taps {
		outs[layer] = end()
	}
	urls := 0
	for line := range strings.Lines(outs["http"]) {
		var e struct {
			Type    string
			Request *struct{ URL string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%v in %q", err, line)
		}
		if e.Type == "request" {
			urls++
		}
	}
	if urls != 3 {
		t.Errorf("tap http has %d requests, want 3", urls)
	}
	for layer, want := range map[string]string{"plain": "GET /json/one", "tcp": " open ", "frames": "Flags [S], seq ", "proc": `"type":"exec"`} {
		if !strings.Contains(outs[layer], want) {
			t.Errorf("tap %s lacks %q: %.500s", layer, want, outs[layer])
		}
	}
	if _, err := exec.LookPath("tshark"); err == nil {
		tshark := exec.Command("tshark", "-r", "-", "-T", "fields", "-e", "frame.number")
		tshark.Stdin = strings.NewReader(outs["frames as a file"])
		out, err := tshark.Output()
		if want := strings.Count(outs["frames"], "\n") - 1; err != nil || strings.Count(string(out), "\n") != want { // the last line is the end
			t.Errorf("tshark reads %d frames of the tap, %v; %d were printed", strings.Count(string(out), "\n"), err, want)
		}
	}
	if strings.Contains(outs["tcp"], "GET /json") {
		t.Error("the layer tcp has plaintext")
	}
}

// TestOwnStages runs a session with decoders built from their own commands.
func TestOwnStages(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	r := run(t, plainUser(t), "up", "-q", "--no-devtools", "--har", "out.har",
		"--reassembler", build(t, "clipper/reassembler/cmd/reassembler"), "--tlsdec", build(t, "clipper/tlsdec/cmd/tlsdec"), "--httpdec", build(t, "clipper/httpdec/cmd/httpdec"),
		"--", "curl", "-sS", "-o", "/dev/null", "--cacert", ca, srv.URL+"/json/x")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	sameAsServer(t, readHAR(t, filepath.Join(r.dir, "out.har")), srv.Log())
	if r := run(t, plainUser(t), "up", "--tlsdec", "/nonexistent", "--", "true"); r.code != 2 || !strings.Contains(r.stderr, "/nonexistent") {
		t.Errorf("a stage that is not there: exit %d %q", r.code, r.stderr)
	}
}

// TestSwapReplays: another decoder decodes the history again. DevTools and late
// taps have it from the new one; files have each exchange once.
func TestSwapReplays(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t), "-q", "--har", "out.har")
	curl := func(path string) string {
		return fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/%s", ca, srv.URL, path)
	}
	// A decoder that reads nothing, until it is replaced: the history is its own.
	blind := filepath.Join(s.cmd.Dir, "blind")
	if err := os.WriteFile(blind, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.do(t, curl("one"))
	if _, stderr, code := s.clipper(t, "swap", "--go-on", "tlsdec", blind); code != 0 {
		t.Fatalf("swap: exit %d %s", code, stderr)
	}
	s.do(t, curl("two"))
	for _, args := range [][]string{{"swap", "tlsdec", build(t, "clipper/tlsdec/cmd/tlsdec")}, {"restart", "--replay", "httpdec"}} {
		if _, stderr, code := s.clipper(t, args...); code != 0 {
			t.Fatalf("%v: exit %d %s", args, code, stderr)
		}
	}
	s.do(t, curl("three"))
	late := s.tap(t, "http")
	if r, err := http.Get(devTools(t, s.cmd) + "json/list"); err != nil || r.StatusCode != 200 {
		t.Errorf("DevTools is not there any more: %v", err)
	}
	s.end(t)
	sameAsServer(t, readHAR(t, filepath.Join(s.cmd.Dir, "out.har")), srv.Log())
	out := late()
	for _, path := range []string{"one", "two", "three"} {
		if n := strings.Count(out, "/json/"+path+" "); n != 1 {
			t.Errorf("the history has /json/%s %d times:\n%s", path, n, out)
		}
	}
}
