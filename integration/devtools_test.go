package integration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"clipper/cdpgw/browsertest/browser"
	"clipper/integration/truth"
)

var shots = flag.String("shots", "", "write the screenshots of the documentation into this directory")

// shot is where a screenshot goes: to the documentation with -shots.
func shot(t *testing.T, name string) string {
	if *shots != "" {
		return filepath.Join(*shots, name)
	}
	return filepath.Join(t.TempDir(), name)
}

// TestDevTools opens the printed URL in Chromium while requests run, looks at
// what is rendered, and comes again after they ran.
func TestDevTools(t *testing.T) {
	b := browser.Start(t)
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t), "--har", "out.har")
	curl := func(flags, path string) {
		s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s '%s%s'", ca, flags, srv.URL, path))
	}
	curl("--http2", "/json/early?n=1")
	url := devTools(t, s.cmd)
	b.Open(url)
	b.Rows(1)
	curl("--http1.1", "/json/live?n=2") // while DevTools looks
	curl("--http2 -H 'Content-Type: application/json' -d '{\"paper\":\"clips\"}'", "/echo/order")
	curl("--http2", "/status/404")
	curl("--http2", "/slow/300")
	var rows []map[string]string
	eventually(t, "the last response is shown", func() bool {
		rows = b.Rows(5)
		return strings.HasPrefix(find(rows, "300")["status"], "200")
	})
	for name, want := range map[string]map[string]string{
		"early?n=1": {"method": "GET", "status": "200", "protocol": "h2", "domain": "localhost", "initiator": "curl"},
		"live?n=2":  {"method": "GET", "status": "200", "protocol": "http/1.1", "initiator": "curl"},
		"order":     {"method": "POST", "status": "200", "protocol": "h2"},
		"404":       {"method": "GET", "status": "404"},
		"300":       {"method": "GET", "status": "200"},
	} {
		row := find(rows, name)
		for column, text := range want {
			if !strings.Contains(row[column], text) {
				t.Errorf("%s: column %s is %q, want %q", name, column, row[column], text)
			}
		}
	}
	remote := fmt.Sprintf("127.0.0.1:%d", srv.Port)
	if row := find(rows, "early"); row["remote-address"] != remote {
		t.Errorf("remote address %q, want %q", row["remote-address"], remote)
	}
	view := b.Item("live?n=2", "Headers", "Status code 200", "x-twice", "user-agent", remote)
	for _, v := range []string{view, b.Item("early?n=1", "Headers", ":path", "/json/early?n=1", "x-twice")} {
		if strings.Contains(v, "Provisional") {
			t.Errorf("the headers are provisional: %s", v)
		}
	}
	b.Item("early?n=1", "Response", `"path" : "/json/early"`)
	b.Item("order", "Payload", "paper", "clips")
	timing := b.Item("early?n=1", "Timing", "Initial connection", "SSL", "Request sent", "Waiting for server response", "Content download")
	t.Log(timing)
	b.Screenshot(shot(t, "timing.png"))
	b.Item("300", "Initiator", "curl")
	b.Close()

	b.Open(url) // a late client gets the history
	b.Rows(5)
	b.Item("early?n=1", "Response", `"path" : "/json/early"`)
	s.stdin.Close() // the app ends; DevTools is attached, so the session stays
	eventually(t, "the session says that it stays", func() bool { return strings.Contains(s.stderr.String(), "DevTools is attached") })
	b.Item("live?n=2", "Response", `"path" : "/json/live"`)
	b.Close() // and ends with the last DevTools
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.stderr.String())
	}
	nothingLeft(t, result{dir: s.cmd.Dir})
	sameAsServer(t, readHAR(t, filepath.Join(s.cmd.Dir, "out.har")), srv.Log())
}

func find(rows []map[string]string, name string) map[string]string {
	for _, r := range rows {
		if strings.Contains(r["name"], name) {
			return r
		}
	}
	return nil
}

// TestDevToolsOfDemo looks at the demo, whose screenshot the README shows.
func TestDevToolsOfDemo(t *testing.T) {
	b := browser.Start(t)
	w := plainUser(t)
	cmd := w.command(t, clipper(t), "demo", "--stay")
	var errs syncBuffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	eventually(t, "the demo is over", func() bool { return strings.Contains(errs.String(), "DevTools stays at") })
	b.Open(devTools(t, cmd))
	if rows := b.Rows(18); len(rows) != 18 {
		t.Errorf("%d rows", len(rows))
	}
	b.Screenshot(shot(t, "devtools.png"))
	b.Item("picture.png", "Preview", "96 × 96")
	b.Item("users.json", "Response", "Grace")
	b.Screenshot(shot(t, "response.png"))
	cmd.Process.Signal(interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, errs.String())
	}
	nothingLeft(t, result{dir: cmd.Dir})
}

// TestOpen opens the page with the user's browser, which runs as the user and
// outside of the command's network.
func TestOpen(t *testing.T) {
	w := plainUser(t)
	cmd := w.command(t, clipper(t), "up", "--open", "--", "sh", "-c", "until [ -s page ]; do sleep 0.05; done")
	browser := filepath.Join(cmd.Dir, "my-browser")
	writeFile(t, browser, "#!/bin/sh\nid -u >uid\nreadlink /proc/self/ns/net >net\ncurl -sL \"$1\" >part\nmv part page\n")
	if err := os.Chmod(browser, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "BROWSER="+browser)
	if r := finish(t, cmd); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	uid := os.Getuid()
	if c := cmd.SysProcAttr.Credential; c != nil {
		uid = int(c.Uid)
	}
	namespace, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"uid": fmt.Sprint(uid), "net": namespace, "page": "<title>Clipper"} {
		if got := string(readFile(t, filepath.Join(cmd.Dir, file))); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

// TestDevToolsOfOtherProtocol looks at a recorded connection that is not HTTP:
// its row shows the bytes.
func TestDevToolsOfOtherProtocol(t *testing.T) {
	b := browser.Start(t)
	w, port := plainUser(t), popServer(t)
	r := run(t, w, "up", "--no-devtools", "-w", "packets.pcapng", "--", "sh", "-c", "printf 'USER ada\\r\\n' | nc -N 127.0.0.1 "+port)
	r.wants(t, 0)
	cmd := w.command(t, clipper(t), "read", "--devtools", filepath.Join(r.dir, "packets.pcapng"))
	var errs syncBuffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	address := regexp.MustCompile(`http://\S+`)
	eventually(t, "DevTools is served", func() bool { return address.MatchString(errs.String()) })
	b.Open(address.FindString(errs.String()))
	b.Rows(1)
	b.Item("127.0.0.1:"+port, "Response", "not HTTP", "+OK I am ready", "USER ada", "client to server", "+OK bye")
	b.Screenshot(shot(t, "bytes.png"))
	if strings.Contains(b.Text("clipperTest.body()"), "No throttling") {
		t.Error("a recording can be throttled")
	}
}
