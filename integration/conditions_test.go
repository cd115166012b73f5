package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clipper/cdpgw/browsertest/browser"
	"clipper/integration/truth"
)

// TestDevToolsChangesTheNetwork throttles, takes offline and blocks from the
// page: the program's network follows, the terminal says so, and all of it ends
// with the page, also when the gateway or the network is killed meanwhile.
func TestDevToolsChangesTheNetwork(t *testing.T) {
	b := browser.Start(t)
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t))
	curl := func(want string) {
		t.Helper()
		s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s '%s/json/x' 2>error; echo $? >status", ca, srv.URL))
		status := strings.TrimSpace(string(readFile(t, filepath.Join(s.cmd.Dir, "status"))))
		if why := string(readFile(t, filepath.Join(s.cmd.Dir, "error"))); status+" "+why != want && (status == "0" || !strings.Contains(why, want)) {
			t.Fatalf("exit status %s, %s want %s\n%s", status, why, want, s.stderr.String())
		}
	}
	said := 0 // bytes of stderr
	says := func(what string) {
		t.Helper()
		eventually(t, "the terminal says "+what, func() bool { return strings.Contains(s.stderr.String()[said:], what) })
		said += strings.Index(s.stderr.String()[said:], what) + len(what)
	}
	choose := func(option string) {
		t.Helper()
		var ok bool
		if !b.Until(func() bool { b.Eval("clipperTest.choose("+browser.Quote(option)+")", &ok); return ok }) {
			t.Fatalf("no option %q", option)
		}
	}
	const fine, undone = "0 ", "the network of the command is as it was before"
	curl(fine)
	url := devTools(t, s.cmd)
	b.Open(url)
	b.Rows(1)

	choose("Offline")
	says("DevTools changes the network of the command: offline")
	curl("Failed to connect")
	syscall.Kill(rolePID(t, s.cmd, "netd"), syscall.SIGKILL) // the new one is told, too
	eventually(t, "netd is back", func() bool {
		for _, row := range ps(t, s.cmd) {
			for _, r := range row.Roles {
				if r.Name == "netd" {
					return r.Starts == 2
				}
			}
		}
		return false
	})
	curl("Failed to connect")
	choose("No throttling")
	says(undone)
	curl(fine)

	choose("Fast 4G")
	says("latency 60 ms, download 1.0 MB/s, upload 168.8 kB/s")
	curl(fine)
	syscall.Kill(rolePID(t, s.cmd, "cdpgw"), syscall.SIGKILL)
	says(undone)

	b.Open(url)
	b.Rows(1)
	b.Menu("x", "Block requests", "Block request domain")
	says(fmt.Sprintf("blocked: localhost:%d", srv.Port))
	curl("35")
	if !b.Until(func() bool {
		var rows []map[string]string
		b.Eval("clipperTest.rows()", &rows)
		for _, r := range rows {
			if strings.Contains(r["status"], "(blocked:devtools)") {
				return true
			}
		}
		return false
	}) {
		t.Errorf("no row is blocked: %s", b.Text("clipperTest.body()"))
	}
	b.Screenshot(shot(t, "blocked.png"))
	b.Close()
	says(undone)
	curl(fine)
	s.end(t)
}
