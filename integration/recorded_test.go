package integration

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// TestRecordedSession: kept, listed, opened, exported, removed.
func TestRecordedSession(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	home := w.dir(t) // of all commands here
	clip := func(args ...string) result {
		cmd := w.command(t, append([]string{clipper(t)}, args...)...)
		cmd.Env = append(cmd.Env, "CLIPPER_DATA=", "XDG_DATA_HOME="+filepath.Join(home, "data"))
		return finish(t, cmd)
	}
	if r := clip("up", "-q", "--no-devtools", "--keep", "monday", "--", "sh", "-c",
		fmt.Sprintf(`curl -sS -o /dev/null --cacert %s -H "Authorization: Bearer %s" %s/json/one; curl -sS -o /dev/null --cacert %s %s/status/404; exit 7`, ca, secret, srv.URL, ca, srv.URL)); r.code != 7 || r.stderr != "" {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	filepath.Walk(filepath.Join(home, "data"), func(path string, fi os.FileInfo, err error) error {
		if err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
		return nil
	})
	if r := clip("up", "--keep", "monday", "--", "touch", "ran"); r.code != 125 || !strings.Contains(r.stderr, "clipper rm monday") || fileExists(filepath.Join(r.dir, "ran")) {
		t.Errorf("the same name again: exit %d %s", r.code, r.stderr)
	}
	if r := clip("up", "--keep", "tuesday", "--", "/nonexistent"); r.code != 127 {
		t.Errorf("no command: exit %d %s", r.code, r.stderr)
	}
	cmd := exec.Command("jq", "-r", `.[] | "\(.name) \(.exchanges) \(.exit) \(.command[0]) \(.size > 1000)"`)
	cmd.Stdin = strings.NewReader(clip("ls", "--json").stdout)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "monday 2 7 sh true\n" {
		t.Errorf("ls --json: %v %s", err, out)
	}
	if r := clip("ls"); !strings.Contains(r.stdout, "monday") {
		t.Errorf("ls: %s", r.stdout)
	}

	har := filepath.Join(home, "out.har")
	if r := clip("open", "--no-devtools", "--har", har, "--expect", "status != 404", "monday"); r.code != 3 || !strings.Contains(r.stderr, "404 GET") {
		t.Errorf("open: exit %d %s", r.code, r.stderr)
	}
	sameAsServer(t, readHAR(t, har), srv.Log())
	if r := clip("export", "monday", "--json", "-", "--share"); r.code != 0 || strings.Contains(r.stdout, secret) || !strings.Contains(r.stdout, "Bearer redacted-") {
		t.Errorf("export --share: exit %d %s %s", r.code, r.stdout, r.stderr)
	}
	if r := clip("export", "monday", "--json", "-"); r.code != 0 || !strings.Contains(r.stdout, secret) {
		t.Errorf("export: exit %d %s %s", r.code, r.stdout, r.stderr)
	}
	packets := filepath.Join(home, "again.pcapng")
	if r := clip("export", "monday", "-w", packets); r.code != 0 {
		t.Errorf("export -w: exit %d %s", r.code, r.stderr)
	}
	if r := clip("read", "-q", "--har", har, packets); r.code != 0 {
		t.Errorf("read: exit %d %s", r.code, r.stderr)
	}
	sameAsServer(t, readHAR(t, har), srv.Log())
	if r := clip("export", "monday", "-w", packets, "--share"); r.code != 2 {
		t.Errorf("packets cannot be shared: exit %d", r.code)
	}

	// DevTools on it.
	open := w.command(t, clipper(t), "open", "monday")
	open.Env = append(open.Env, "CLIPPER_DATA=", "XDG_DATA_HOME="+filepath.Join(home, "data"))
	var said syncBuffer
	open.Stderr = &said
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open.Process.Kill(); open.Wait() })
	var url string
	eventually(t, "the address of DevTools", func() bool {
		_, rest, ok := strings.Cut(said.String(), "DevTools: ")
		url, _, _ = strings.Cut(rest, " ")
		return ok && strings.Contains(said.String(), "404 GET")
	})
	if r, err := http.Get(url + "json/list"); err != nil || r.StatusCode != 200 {
		t.Errorf("DevTools at %s: %v", url, err)
	}
	open.Process.Signal(interrupt)
	if err := open.Wait(); err != nil {
		t.Errorf("open: %v", err)
	}

	if r := clip("rm", "monday", "nobody"); r.code != 125 || !strings.Contains(r.stderr, "nobody") {
		t.Errorf("rm: exit %d %s", r.code, r.stderr)
	}
	if r := clip("open", "monday"); r.code != 125 || !strings.Contains(r.stderr, "clipper ls") {
		t.Errorf("open after rm: exit %d %s", r.code, r.stderr)
	}
}

// TestKilledRecording: what was captured before a SIGKILL can be opened.
func TestKilledRecording(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	s := startSession(t, w, "-q", "--no-devtools", "--keep", "killed")
	s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/one", ca, srv.URL))
	file := filepath.Join(s.cmd.Dir, ".local/share/clipper/sessions/killed/session.pcapng")
	eventually(t, "the packets in the file", func() bool {
		har := filepath.Join(s.cmd.Dir, "try.har")
		_, _, code := s.clipper(t, "read", "-q", "--har", har, file)
		return code == 0 && len(readHAR(t, har).Log.Entries) == 1
	})
	if out, _, _ := s.clipper(t, "ls"); !strings.Contains(out, "running") {
		t.Errorf("ls while it runs: %s", out)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if out, _, _ := s.clipper(t, "ls"); !strings.Contains(out, "killed  ") {
		t.Errorf("ls: %s", out)
	}
	out, stderr, code := s.clipper(t, "export", "killed", "--json", "-")
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "/json/one") {
		t.Errorf("export: exit %d %s %s", code, out, stderr)
	}
}

// TestKeepMax: the limit ends the recording, not the session.
func TestKeepMax(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	s := startSession(t, w, "-q", "--no-devtools", "--keep", "small", "--keep-max", "20kB", "--har", "out.har")
	get := func(path string) { s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/%s", ca, srv.URL, path)) }
	get("json/one")
	get("size/300000")
	get("json/two")
	s.end(t)
	sameAsServer(t, readHAR(t, filepath.Join(s.cmd.Dir, "out.har")), srv.Log())
	if !strings.Contains(s.stderr.String(), "--keep-max") {
		t.Errorf("the limit was not told: %s", s.stderr.String())
	}
	if out, _, _ := s.clipper(t, "ls"); !strings.Contains(out, "(full)") {
		t.Errorf("ls: %s", out)
	}
	if out, stderr, code := s.clipper(t, "export", "small", "--json", "-"); code != 0 || !strings.Contains(out, "/json/one") {
		t.Errorf("export: exit %d %s", code, stderr)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
