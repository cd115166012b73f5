package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// TestPacketFile: tshark opens what -w wrote, decrypted, without any option but
// its own for out-of-order segments; and `clipper read` finds the same as `up`.
func TestPacketFile(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	s, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	dir := w.dir(t)
	pcap, har, again := filepath.Join(dir, "out.pcapng"), filepath.Join(dir, "up.har"), filepath.Join(dir, "read.har")
	script := ""
	for _, v := range variants {
		script += fmt.Sprintf("curl -sS --cacert %s %s %s -o /dev/null -o /dev/null %s/size/50000?%s %s/json/%s\n", ca, v.httpFlag, v.tlsFlag, s.URL, v.name, s.URL, v.name)
	}
	if r := run(t, w, "up", "-q", "--no-devtools", "-w", pcap, "--har", har, "--", "sh", "-ec", script); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	if fi, _ := os.Stat(pcap); fi.Mode().Perm() != 0o600 {
		t.Errorf("a file with secrets has mode %v", fi.Mode())
	}
	sameAsServer(t, readHAR(t, har), s.Log())

	out, err := exec.Command("tshark", "-r", pcap, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "http.request || http2.headers.method",
		"-T", "fields", "-e", "http.request.full_uri", "-e", "http2.headers.path").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	var seen, want []string
	for _, path := range strings.Fields(string(out)) {
		seen = append(seen, strings.TrimPrefix(path, s.URL))
	}
	for _, x := range s.Log() {
		want = append(want, strings.TrimPrefix(x.URL, s.URL))
	}
	slices.Sort(seen)
	slices.Sort(want)
	if !slices.Equal(seen, want) {
		t.Errorf("tshark sees %q, want %q", seen, want)
	}

	if r := run(t, w, "read", "-q", "--har", again, pcap); r.code != 0 || r.stderr != "" {
		t.Fatalf("read: exit %d %s", r.code, r.stderr)
	}
	sameAsServer(t, readHAR(t, again), s.Log())
	for _, e := range readHAR(t, again).Log.Entries {
		if !strings.Contains(e.Command, "curl") {
			t.Errorf("%s: read has the command %q", e.Request.URL, e.Command)
		}
	}
}

// TestReadWithKeyLog reads a capture whose secrets are in a file of their own.
func TestReadWithKeyLog(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	dir := w.dir(t)
	pcap, keys, har := filepath.Join(dir, "out.pcapng"), filepath.Join(dir, "keys"), filepath.Join(dir, "read.har")
	if r := run(t, w, "up", "-q", "--no-devtools", "-w", pcap, "--keylog", keys, "--", "curl", "-sS", "--cacert", ca, s.URL+"/json/x"); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	if editcap, err := exec.LookPath("editcap"); err == nil {
		bare := filepath.Join(dir, "bare.pcapng")
		if b, err := exec.Command(editcap, "--discard-all-secrets", pcap, bare).CombinedOutput(); err != nil {
			t.Fatalf("editcap: %v %s", err, b)
		}
		os.Chmod(bare, 0o644)
		pcap = bare
		r := run(t, w, "read", pcap)
		if r.code != 0 || !strings.Contains(r.stderr, "no-secret") {
			t.Errorf("without secrets: exit %d %q, want a verdict", r.code, r.stderr)
		}
	}
	if r := run(t, w, "read", "-q", "--keylog", keys, "--har", har, pcap); r.code != 0 {
		t.Fatalf("read: exit %d %s", r.code, r.stderr)
	}
	sameAsServer(t, readHAR(t, har), s.Log())
	r := run(t, w, "read", "--keylog", ca, pcap)
	if r.code != 125 || !strings.Contains(r.stderr, "no line of the form") {
		t.Errorf("a key log without secrets: exit %d %q", r.code, r.stderr)
	}
}

func TestReadBadFiles(t *testing.T) {
	w := plainUser(t)
	dir := w.dir(t)
	text, cut := filepath.Join(dir, "text"), filepath.Join(dir, "cut.pcap")
	os.WriteFile(text, []byte("hello, this is no capture\n"), 0o644)
	os.WriteFile(cut, append([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"), "1234567"...), 0o644)
	for path, says := range map[string]string{text: "pcap", cut: "cut off at byte 24", dir: "directory", filepath.Join(dir, "none"): "no such file"} {
		r := run(t, w, "read", path)
		if r.code != 125 || !strings.Contains(r.stderr, says) {
			t.Errorf("read %s: exit %d %q, want 125 and %q", path, r.code, r.stderr, says)
		}
	}
}

// TestKeys compares what `clipper keys` writes with the server's own key log.
func TestKeys(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		var log bytes.Buffer
		s, ca := truthServer(t, truth.Options{KeyLog: &log})
		cmd := w.command(t, clipper(t), "keys", "--keylog", "keys.log", "--json", "keys.json", "--", "curl", "-sS", "--cacert", ca, s.URL+"/json/x")
		if r := finish(t, cmd); r.code != 0 {
			t.Fatalf("exit %d %s", r.code, r.stderr)
		}
		s.Close()
		ours := string(readFile(t, filepath.Join(cmd.Dir, "keys.log")))
		n := 0
		for line := range strings.Lines(log.String()) {
			n++
			if !strings.Contains(ours, strings.TrimSpace(line)) {
				t.Errorf("missing: %s", line)
			}
		}
		if n == 0 {
			t.Error("the server logged nothing")
		}
		var e map[string]any
		first, _, _ := strings.Cut(string(readFile(t, filepath.Join(cmd.Dir, "keys.json"))), "\n")
		if err := json.Unmarshal([]byte(first), &e); err != nil {
			t.Errorf("%v in %q", err, first)
		}
	})
}

// TestOneOutputFails: one output that cannot be written any more does not stop the
// others; it is said, and the exit status tells.
func TestOneOutputFails(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	har := filepath.Join(w.dir(t), "out.har")
	r := run(t, w, "up", "-q", "--no-devtools", "--json", "/dev/full", "--har", har, "--",
		"sh", "-c", fmt.Sprintf("for i in 1 2 3; do curl -sS -o /dev/null --cacert %s %s/json/$i; done", ca, s.URL))
	r.wants(t, 125, "--json: ", "no space left on device", "everything else goes on")
	sameAsServer(t, readHAR(t, har), s.Log())
}

// TestReaderLeaves: a reader of --json that leaves does not end the command.
func TestReaderLeaves(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	curl := fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/", ca, s.URL)
	// The second request waits for the end of the reader, which ends after the first.
	script := fmt.Sprintf("mkfifo left; { %s up -q --no-devtools --json - -- sh -ec '%sone; read x <left; %stwo; %sthree; touch done' || echo $? >status; } | { head -n 1 >first; exec >&-; echo >left; }; cat status",
		clipper(t), curl, curl, curl)
	r := finish(t, plainUser(t).command(t, "sh", "-c", script))
	if _, err := os.Stat(filepath.Join(r.dir, "done")); err != nil {
		t.Errorf("the command did not end by itself: %v %s", err, r.stderr)
	}
	if !strings.Contains(r.stderr, "broken pipe") || strings.TrimSpace(r.stdout) != "125" {
		t.Errorf("status %q, %s", r.stdout, r.stderr)
	}
}
