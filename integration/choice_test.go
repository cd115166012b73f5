package integration

import (
	"encoding/xml"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

const secret = "geheim-0123456789"

// TestFilterExpectRedact: one run with all three, and the same from its packets.
func TestFilterExpectRedact(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	dir := w.dir(t)
	packets := filepath.Join(dir, "out.pcapng")
	script := fmt.Sprintf(`for p in json/one status/404 status/503; do curl --http1.1 -sS -o /dev/null --cacert %s -H "Authorization: Bearer %s" "%s/$p?access_token=%s"; done`, ca, secret, srv.URL, secret)
	if r := run(t, w, "up", "-q", "--no-devtools", "-w", packets, "--", "sh", "-c", script); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	choose := []string{"--json", "-", "--har", filepath.Join(dir, "out.har"), "--junit", filepath.Join(dir, "junit.xml"), "--redact",
		"--filter", `process == "curl" && status >= 400`,
		"--expect", `status < 500`, "--expect", `exchanges.exists(e, e.path == "/json/one")`, "--expect", `size(exchanges) == 3 && size(verdicts) == 0`}
	for name, r := range map[string]result{
		"up":   run(t, w, append(append([]string{"up", "--no-devtools"}, choose...), "--", "sh", "-c", script)...),
		"read": run(t, w, append(append([]string{"read"}, choose...), packets)...),
	} {
		if r.code != 3 {
			t.Errorf("%s: exit %d %s", name, r.code, r.stderr)
		}
		for _, want := range []string{"404 GET", "503 GET", "3 exchanges with 1 host", "2 pass the filter", "1 of 3 rules broken", "BROKEN  status < 500", "-> 503"} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s: stderr lacks %q:\n%s", name, want, r.stderr)
			}
		}
		if strings.Contains(r.stderr, "200 GET") {
			t.Errorf("%s: stderr has what the filter leaves out:\n%s", name, r.stderr)
		}
		junit := string(readFile(t, filepath.Join(dir, "junit.xml")))
		if all := r.stdout + r.stderr + string(readFile(t, filepath.Join(dir, "out.har"))) + junit; strings.Contains(all, secret) || !strings.Contains(all, "redacted-") {
			t.Errorf("%s: the secret is still there:\n%s", name, all)
		}
		var suites struct {
			Suite struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal([]byte(junit), &suites); err != nil || suites.Suite.Tests != 3 || suites.Suite.Failures != 1 {
			t.Errorf("%s: %v in %s", name, err, junit)
		}
		// One secret has one name, wherever it stands.
		cmd := exec.Command("jq", "-rs", `[.[] | .request | (.headers[] | select(.name == "Authorization") | .value | ltrimstr("Bearer ")), (.queryString[] | .value)] | "\(length) \(unique | length) \(.[0][:9])"`)
		cmd.Stdin = strings.NewReader(r.stdout)
		if got, err := cmd.CombinedOutput(); err != nil || string(got) != "4 1 redacted-\n" {
			t.Errorf("%s: jq: %v %q", name, err, got)
		}
	}
}

func TestExpectAndTheCommand(t *testing.T) {
	w := plainUser(t)
	for _, c := range []struct {
		rule, command string
		code          int
		says          string
	}{
		{"size(exchanges) == 0", "exit 0", 0, "1 rule kept by 0 exchanges"},
		{"size(exchanges) > 0", "exit 0", 3, "BROKEN"},
		{"size(exchanges) > 0", "exit 7", 7, "BROKEN"}, // the command's own status goes before
	} {
		r := run(t, w, "up", "-q", "--no-devtools", "--expect", c.rule, "--", "sh", "-c", c.command)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s, %s: exit %d, want %d: %s", c.rule, c.command, r.code, c.code, r.stderr)
		}
	}
	for _, flags := range [][]string{{"--filter", "statu == 1"}, {"--expect", "status"}, {"--junit", "x.xml"}, {"--redact", "-w", "x.pcapng"}} {
		r := run(t, w, append(append([]string{"up"}, flags...), "--", "touch", "ran")...)
		if r.code != 2 || !strings.Contains(r.stderr, "clipper: --") {
			t.Errorf("%v: exit %d %s", flags, r.code, r.stderr)
		}
	}
}

func TestTapChooses(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t), "-q", "--no-devtools")
	other := hostHTTP(t)
	otherPort := strings.Trim(other[strings.LastIndexByte(other, ':'):], ":/")
	s.do(t, fmt.Sprintf(`curl --http1.1 -sS -o /dev/null --cacert %s -H "Authorization: Bearer %s" %s/json/one %s/status/404; curl -sS -o /dev/null %s`, ca, secret, srv.URL, srv.URL, other))
	type tap struct {
		args        []string
		has, hasNot []string
	}
	taps := []tap{
		{[]string{"http"}, []string{"200 GET    " + srv.URL + "/json/one", "404 GET", "curl["}, []string{"{"}},
		{[]string{"http", "--filter", `status == 404`}, []string{"404 GET"}, []string{"200 GET"}},
		{[]string{"http", "--json", "--redact", "--filter", `path == "/json/one" && process == "curl"`}, []string{`"type":"request"`, "/json/one", "Bearer redacted-", `"type":"end"`}, []string{"/status/404", secret}},
		{[]string{"plain", "--text", "--filter", `process == "curl" && host == "localhost"`}, []string{"= ", "curl[", "> GET /json/one HTTP/1.1\n", "< HTTP/1.1 200 OK\n"}, []string{"00000000"}},
		{[]string{"plain", "--hex", "--filter", `tls == "TLS 1.3" && port != 1`}, []string{"00000000  47 45 54 20", "|GET /json"}, nil},
		{[]string{"tcp", "--filter", `port == ` + otherPort}, []string{" open ", ":" + otherPort}, []string{fmt.Sprint(":", srv.Port)}},
		{[]string{"proc", "--redact"}, []string{`"type":"exec"`}, []string{secret}},
	}
	ends := make([]func() string, len(taps))
	for i, c := range taps {
		ends[i] = s.tap(t, c.args...)
	}
	for _, args := range [][]string{{"body", "--filter", "true"}, {"plain", "--redact"}, {"http", "--text"}, {"tcp", "-w", "x"}, {"http", "--filter", "nope"}} {
		if _, stderr, code := s.clipper(t, append([]string{"tap"}, args...)...); code != 2 {
			t.Errorf("tap %v: exit %d %s", args, code, stderr)
		}
	}
	s.end(t)
	for i, c := range taps {
		out := ends[i]()
		for _, want := range c.has {
			if !strings.Contains(out, want) {
				t.Errorf("tap %v lacks %q:\n%.2000s", c.args, want, out)
			}
		}
		for _, not := range c.hasNot {
			if strings.Contains(out, not) {
				t.Errorf("tap %v has %q:\n%.2000s", c.args, not, out)
			}
		}
	}
}
