package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletions: what can stand in a place is offered there.
func TestCompletions(t *testing.T) {
	for args, want := range map[string]string{
		"tap ": "\nhttp\n", "restart ": "netd\n", "swap ": "\ntlsdec\n", "swap tlsdec ": ":0\n", "help ": "\nversion\tPrint",
	} {
		var b strings.Builder
		root := newRoot()
		root.SetArgs(append([]string{"__complete"}, strings.Split(args, " ")...))
		root.SetOut(&b)
		if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v, %q", args, err, b.String())
		}
	}
}

// TestMan: each command and topic has a page, which names what its flags take.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	root := newRoot()
	root.SetArgs([]string{"man", dir})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	page := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range newRoot().Commands() {
		if !c.Hidden {
			page("clipper-" + c.Name() + ".1")
		}
	}
	up := page("clipper-up.1")
	for _, want := range []string{`\fB--har\fP=FILE`, `\fB--devtools\fP[=HOST:PORT]`, "\\fB-q\\fP, \\fB--quiet\\fP\n", `\fB--keep-max\fP=SIZE`, "(default 2GB)", `\fB-w\fP, \fB--write\fP=FILE`} {
		if !strings.Contains(up, want) {
			t.Errorf("clipper-up.1 lacks %q", want)
		}
	}
	if filter := page("clipper-filter.1"); !strings.Contains(filter, "response.body") {
		t.Error("clipper-filter.1 lacks the names")
	} else if !strings.Contains(filter, "\n  path        string     of the URL, without query\n") {
		t.Errorf("the table is not kept as it stands:\n%s", filter)
	}
}
