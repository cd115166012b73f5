package browser

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	done := make(chan error, 1)
	// The arguments, one a line, as the exit status cannot carry them.
	out := filepath.Join(dir, "args")
	show := `for a; do echo "$a"; done >` + out + "\nexit 3\n"
	good, bad := script("good", show), filepath.Join(dir, "none")
	xdg := script("xdg-open", show)
	for _, c := range []struct{ browser, path, want string }{
		{good, "", "http://x/\n"},
		{bad + ":" + good + " --new", "", "--new\nhttp://x/\n"},
		{good + " --app=%s", "", "--app=http://x/\n"},
		{bad, filepath.Dir(xdg), "http://x/\n"},
	} {
		t.Setenv("BROWSER", c.browser)
		t.Setenv("PATH", c.path+":/bin:/usr/bin")
		if c.path == "" {
			t.Setenv("PATH", "/bin:/usr/bin")
		}
		if err := Open("http://x/", func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		<-done // it ended with status 3
		if b, _ := os.ReadFile(out); string(b) != c.want {
			t.Errorf("BROWSER=%s: %q, want %q", c.browser, b, c.want)
		}
	}
	t.Setenv("BROWSER", "")
	t.Setenv("PATH", dir+"/none")
	if err := Open("http://x/", nil); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}
