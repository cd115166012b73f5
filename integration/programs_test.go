package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// TestProgramsAgainstGo runs other clients than curl: each sends a GET and a POST
// for every protocol it has.
func TestProgramsAgainstGo(t *testing.T) {
	goclient := build(t, "clipper/integration/cmd/goclient", "-ldflags=-s -w", "-trimpath")
	pie := build(t, "clipper/integration/cmd/goclient", "-ldflags=-s -w", "-buildmode=pie")
	goScript := func(bin string) func(url, ca string) string {
		return func(url, ca string) string {
			var s strings.Builder
			for _, flags := range []string{"", "-tls12", "-h2", "-h2 -tls12", "-h3"} {
				label := strings.ReplaceAll("go"+flags, " ", "")
				fmt.Fprintf(&s, "%s -ca %s %s -n 2 -label %s %s\n", bin, ca, flags, label, url)
				fmt.Fprintf(&s, "%s -ca %s %s -n 1 -post 20000 -label %s-post %s\n", bin, ca, flags, label, url)
			}
			return s.String()
		}
	}
	python := func(url, ca string) string {
		return fmt.Sprintf(`python3 - <<'EOF'
import ssl, urllib.request
for old in (False, True):
    c = ssl.create_default_context(cafile=%q)
    if old: c.maximum_version = ssl.TLSVersion.TLSv1_2
    urllib.request.urlopen(%q + "/json/python/%%d" %% old, context=c).read()
    urllib.request.urlopen(%q + "/echo/python/%%d" %% old, data=b"x" * 5000, context=c).read()
EOF
`, ca, url, url)
	}
	for _, p := range []struct {
		name, command string
		exchanges     int
		script        func(url, ca string) string
	}{
		{"go-stripped-static", "goclient", 15, goScript(goclient)},
		{"go-stripped-pie", "goclient", 15, goScript(pie)},
		{"python3", "python3", 4, python},
	} {
		t.Run(p.name, func(t *testing.T) {
			everybody(t, func(t *testing.T, w who) {
				s, ca := truthServer(t, truth.Options{HTTP3: true})
				har := filepath.Join(w.dir(t), "out.har")
				cmd := w.command(t, clipper(t), "up", "--no-devtools", "--har", har, "--", "sh", "-ec", p.script(s.URL, ca))
				if p.name == "python3" { // Debian's, which every user can run
					if _, err := os.Stat("/usr/bin/python3"); err != nil {
						if _, err := exec.LookPath("python3"); err != nil {
							t.Skip("python3 is not installed")
						}
					} else {
						cmd.Env = append(cmd.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
					}
				}
				r := finish(t, cmd)
				if r.code != 0 {
					t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
				}
				h := readHAR(t, har)
				if len(h.Log.Entries) != p.exchanges {
					t.Errorf("%d entries, want %d; verdicts %+v", len(h.Log.Entries), p.exchanges, h.Log.Verdicts)
				}
				sameAsServer(t, h, s.Log())
				for _, e := range h.Log.Entries {
					if !strings.Contains(e.Command, p.command) {
						t.Errorf("%s: command %q, want %s", e.Request.URL, e.Command, p.command)
					}
				}
				nothingLeft(t, r)
			})
		})
	}
}
