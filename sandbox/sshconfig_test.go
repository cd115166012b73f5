//go:build linux

package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSSHIncludes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	outer := file("other", "include ssh_config # itself\n")
	config := file("ssh_config", "# Include nothing\nHost *\n  Include d/*.conf\ninclude=missing\n")
	a := file("d/a.conf", "Include \""+outer+"\"\n")
	b := file("d/b.conf", "")
	file("d/c", "")
	if got, want := sshIncludes(config), []string{a, outer, b}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := sshIncludes(filepath.Join(dir, "none")); got != nil {
		t.Errorf("%q", got)
	}
}
