package integration

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"clipper/integration/truth"
)

var update = flag.Bool("update", false, "write the table of TLS libraries into README.md")

// subject is a row of the matrix: a program that fetches a URL, twice if it can.
type subject struct {
	stack     string
	name      string
	version   string        // shell command that prints it; $BIN is what need returned
	need      func() string // makes what must be there and returns its path, or a sentence why there is none
	argv      func(bin, url string) []string
	mechanism string
	library   string
	resumes   resumption
	browser   bool // does not run as root, and makes connections of its own
	only12    bool // has no TLS 1.3
}

// resumption says when a program's second connection goes on with the first
// one's session.
type resumption uint8

const (
	never resumption = iota
	tls13
	always
)

// installed is for what the distribution has.
func installed(path string) func() string {
	return func() string {
		if _, err := os.Stat(path); err != nil {
			return path + " is not installed"
		}
		return path
	}
}

// program is a command with the URL as its last argument.
func program(args ...string) func(bin, url string) []string {
	return func(_, url string) []string { return append(slices.Clone(args), url) }
}

// itself is the same of what was made.
func itself(args ...string) func(bin, url string) []string {
	return func(bin, url string) []string { return append(append([]string{bin}, args...), url) }
}

// shell is a script in which $1 is the URL, $2 host:port, $3 the port, $4 the
// path, $BIN what was made and $CA the file of the server's certificate.
func shell(script string) func(bin, url string) []string {
	return func(_, url string) []string {
		authority, path, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
		_, port, _ := strings.Cut(authority, ":")
		return []string{"/bin/sh", "-ec", script, "sh", url, authority, port, "/" + path}
	}
}

// keyLog takes a server's own key log.
type keyLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *keyLog) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(p)
}

func (k *keyLog) lines() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return keyLogLines(k.b.String())
}

// established reports whether a key log holds the last secrets of the connection
// that a line of another is about.
func established(log []string, line string) bool {
	random := strings.Fields(line)[1]
	return slices.ContainsFunc(log, func(l string) bool {
		return strings.HasPrefix(l, "client_random "+random) || strings.HasPrefix(l, "server_traffic_secret_0 "+random)
	})
}

// keyLogLines are the lines of a key log without comments, in lower case, sorted.
func keyLogLines(text string) (lines []string) {
	for l := range strings.Lines(text) {
		if l = strings.ToLower(strings.TrimSpace(l)); l != "" && l[0] != '#' {
			lines = append(lines, l)
		}
	}
	slices.Sort(lines)
	return lines
}

// TestKeyMatrix runs every kind of program that Clipper reads: each secret of the
// server's own key log must be there, once, and every exchange decoded.
func TestKeyMatrix(t *testing.T) {
	var table []row
	for i, s := range subjects(t) {
		r := row{subject: s, results: map[string]string{}}
		t.Run(s.stack+"/"+s.name, func(t *testing.T) {
			bin := s.need()
			if !strings.HasPrefix(bin, "/") {
				t.Skip(bin)
			}
			version := exec.Command("/bin/sh", "-c", s.version)
			version.Env = append(os.Environ(), "BIN="+bin)
			out, err := version.CombinedOutput()
			if err != nil {
				t.Errorf("its version: %v\n%s", err, out)
			}
			r.version = strings.TrimSpace(string(out))
			for j, v := range []struct {
				name    string
				version uint16
			}{{"TLS 1.3", tls.VersionTLS13}, {"TLS 1.2", tls.VersionTLS12}} {
				if s.only12 && v.version != tls.VersionTLS12 {
					continue
				}
				// One version as root and the other as a user, in turn.
				w := plainUser(t)
				if os.Getuid() == 0 && (i+j)%2 == 1 && !s.browser {
					w = root
				}
				t.Run(v.name, func(t *testing.T) {
					resumed := testKeys(t, s, bin, w, v.name, v.version)
					if r.results[v.name] = "read"; resumed {
						r.results[v.name] = "read, resumed"
					}
				})
			}
		})
		table = append(table, r)
	}
	checkTable(t, table)
}

// keysPath is what is fetched.
const keysPath = "/json/keys"

func testKeys(t *testing.T, s subject, bin string, w who, name string, version uint16) (resumed bool) {
	log := &keyLog{}
	srv, ca := truthServer(t, truth.Options{KeyLog: log, MinVersion: version, MaxVersion: version, Close: true})
	dir := w.dir(t)
	har, keys := filepath.Join(dir, "out.har"), filepath.Join(dir, "keys.log")
	cmd := w.command(t, append([]string{clipper(t), "up", "-q", "--no-devtools", "--har", har, "--keylog", keys, "--"}, s.argv(bin, srv.URL+keysPath)...)...)
	cmd.Env = append(cmd.Env, "PATH=/usr/bin:/bin", "BIN="+bin, "CA="+ca)
	r := finish(t, cmd)
	if r.code != 0 {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	ours, theirs := keyLogLines(string(readFile(t, keys))), log.lines()
	server := srv.Log()
	h := readHAR(t, har)
	h.Log.Verdicts = slices.DeleteFunc(h.Log.Verdicts, func(v harVerdict) bool { return v.Code == "refused" || v.Code == "dns-failed" })
	if s.browser {
		// It ends in the middle of what it does besides.
		h.Log.Verdicts = nil
		h.Log.Entries = slices.DeleteFunc(h.Log.Entries, func(e harEntry) bool { return e.Request.URL != srv.URL+keysPath })
		server = slices.DeleteFunc(server, func(x truth.Exchange) bool { return x.URL != srv.URL+keysPath })
		theirs = slices.DeleteFunc(theirs, func(l string) bool { return !established(ours, l) })
	}
	for _, l := range theirs {
		if !slices.Contains(ours, l) {
			t.Errorf("missing of %d secrets: %.60s…\n%s", len(theirs), l, r.stderr)
		}
	}
	for i := range ours[:max(len(ours)-1, 0)] {
		if ours[i] == ours[i+1] {
			t.Errorf("twice: %.60s…", ours[i])
		}
	}
	if len(server) == 0 {
		t.Error("nothing was fetched")
	}
	sameAsServer(t, h, server)
	if len(h.Log.Verdicts) != 0 {
		t.Errorf("verdicts %+v", h.Log.Verdicts)
	}
	n := 0
	for _, x := range server {
		if x.Resumed {
			n++
		}
	}
	for _, e := range h.Log.Entries {
		if e.TLS.Resumed {
			n--
			resumed = true
		}
		library := s.library
		if s.mechanism == either && e.TLS.Mechanism == environment {
			library = ""
		}
		if e.TLS.Version != name || !strings.Contains(s.mechanism, e.TLS.Mechanism) || e.TLS.Library != library || e.PID == 0 || e.Command == "" {
			t.Errorf("read by %q of %q, %s, process %d %q; want %q of %q, %s", e.TLS.Mechanism, e.TLS.Library, e.TLS.Version, e.PID, e.Command, s.mechanism, s.library, name)
		}
	}
	if want := s.resumes == always || s.resumes == tls13 && version == tls.VersionTLS13; n != 0 || resumed != want {
		t.Errorf("resumed %v, want %v; %d connections more than the server knows of", resumed, want, -n)
	}
	nothingLeft(t, r)
	return resumed
}

// row is a line of the README's table.
type row struct {
	subject
	version string
	results map[string]string
}

const tableBegin, tableEnd = "<!-- begin: TLS libraries, by TestKeyMatrix -update -->\n", "<!-- end: TLS libraries -->\n"

// cells are the row; the version is the third.
func (r *row) cells() []string {
	result := func(tls string) string {
		if s := r.results[tls]; s != "" || !r.only12 {
			return s
		}
		return "–"
	}
	return []string{r.stack, r.name, r.version, r.mechanism, result("TLS 1.3"), result("TLS 1.2")}
}

// checkTable compares the table with the README's, or with -update writes it.
// Versions are what this machine has, and a row that was not run keeps what it says.
func checkTable(t *testing.T, rows []row) {
	t.Helper()
	const path = "../README.md"
	readme := string(readFile(t, path))
	before, rest, ok1 := strings.Cut(readme, tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table of TLS libraries", path)
	}
	known := map[string][]string{}
	for l := range strings.Lines(old) {
		c := strings.Split(strings.Trim(strings.TrimSpace(l), "|"), " | ")
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		if len(c) == 6 {
			known[c[0]+"/"+c[1]] = c
		}
	}
	table := []string{"| TLS library | program | version | secrets by | TLS 1.3 | TLS 1.2 |\n", "| --- | --- | --- | --- | --- | --- |\n"}
	for _, r := range rows {
		c := r.cells()
		was := known[c[0]+"/"+c[1]]
		if len(r.results) == 0 && was != nil {
			c = was
		}
		if was != nil {
			was[2] = c[2]
		}
		if !*update && !slices.Equal(c, was) {
			t.Errorf("%s says %q, this run %q: run TestKeyMatrix with -update", path, was, c)
		}
		table = append(table, "| "+strings.Join(c, " | ")+" |\n")
	}
	fmt.Print(strings.Join(table, ""))
	if *update {
		if err := os.WriteFile(path, []byte(before+tableBegin+strings.Join(table, "")+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
