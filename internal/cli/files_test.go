package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestApart(t *testing.T) {
	dir := t.TempDir()
	there, link, none := filepath.Join(dir, "there"), filepath.Join(dir, "link"), filepath.Join(dir, "none")
	if err := os.WriteFile(there, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(there, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		read, har, json string
		ok              bool
	}{
		{there, none, "", true},
		{there, "", "-", true},
		{"-", "-", "", true},
		{there, "-", "-", false},
		{there, there, "", false},
		{there, link, "", false},
		{there, none, none, false},
		{there, none, filepath.Join(dir, "..", filepath.Base(dir), "none"), false},
		{there, os.DevNull, os.DevNull, true},
		{"", "", "", true},
	} {
		err := apart([]namedFile{{"the capture", c.read}}, []namedFile{{"--har", c.har}, {"--json", c.json}})
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestContradictions: flags that cannot go together, or that would change nothing,
// are refused before anything is run.
func TestContradictions(t *testing.T) {
	for _, c := range [][2]string{
		{"up --wait-all --kill-all -- true", "contradict"},
		{"up --no-devtools --stay -- true", "--no-devtools goes with none"},
		{"up --no-devtools --devtools=127.0.0.1:0 -- true", "--no-devtools goes with none"},
		{"up --devtools 127.0.0.1:5000 -- true", "--devtools=127.0.0.1:5000"},
		{"up --devtools=0.0.0.0:5000 -- true", "--devtools=127.0.0.1:5000"},
		{"up --devtools=nowhere -- true", "HOST:PORT"},
		{"read --devtools=[::]:5000 files_test.go", "to this machine only"},
		{"up --keep-max 5MB -- true", "needs --keep"},
		{"up --nats-max 5MB -- true", "needs --nats"},
		{"up --har same --json same -- true", "the same file"},
		{"read -w files_test.go files_test.go", "the same file"},
		{"read --keylog files_test.go --har files_test.go some.pcapng", "the same file"},
		{"read --har - --json - files_test.go", "standard output"},
		{"keys --keylog same --json same -- true", "the same file"},
		{"up --har -- true", "--har needs a value"},
		{"up --keep= -- true", "--keep is given an empty value"},
		{"help nobody", "no help on \"nobody\""},
		{"kyes -- true", "do you mean keys?"},
		{"completion tcsh", "no completions for \"tcsh\""},
		{"tap tcp --filter request.body==''", "filter by it in http"},
		{"demo now", "no argument"},
		{"up --expect status==200 --junit none/j.xml -- true", "the directory none does not exist"},
	} {
		root := newRoot()
		root.SetArgs(strings.Fields(c[0]))
		err := root.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want an error with %q", c[0], err, c[1])
		}
	}
}

func TestDevToolsAddress(t *testing.T) {
	for value, want := range map[string]string{"": "", "9229": "127.0.0.1:9229", ":0": "127.0.0.1:0", "localhost:1": "127.0.0.1:1", "127.0.0.2:1": "127.0.0.2:1", "[::1]:1": "[::1]:1"} {
		if got, err := devToolsAddress(value); got != want || err != nil {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

// TestOptionalValue: the help shows how --devtools takes its address.
func TestOptionalValue(t *testing.T) {
	for _, args := range []string{"up --help", "read --help", "open --help"} {
		var b strings.Builder
		root := newRoot()
		root.SetArgs(strings.Fields(args))
		root.SetOut(&b)
		if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(b.String(), "--devtools[=HOST:PORT] ") {
			t.Errorf("%s: %v, %s", args, err, b.String())
		}
	}
}

// TestMissingCaptureEmptiesNothing: outputs are opened after what is read.
func TestMissingCaptureEmptiesNothing(t *testing.T) {
	har := filepath.Join(t.TempDir(), "kept.har")
	if err := os.WriteFile(har, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	root.SetArgs([]string{"read", "-q", "--har", har, har + ".pcap"})
	if err := root.ExecuteContext(t.Context()); err == nil {
		t.Error("there is no such capture")
	}
	if b, _ := os.ReadFile(har); string(b) != "kept" {
		t.Errorf("the file has %q now", b)
	}
}
