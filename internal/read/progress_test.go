package read

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/httpdec"
	"clipper/internal/term"
)

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		done, size int64
		want       string
	}{
		{0, 1000, "reading   0 % ──────────────────────── 0 B of 1.0 kB  0 B/s"},
		{500e6, 1000e6, "reading  50 % ━━━━━━━━━━━━──────────── 500.0 MB of 1.0 GB  250.0 MB/s  2s left"},
		{1000, 1000, "reading 100 % ━━━━━━━━━━━━━━━━━━━━━━━━ 1.0 kB of 1.0 kB  500 B/s"},
		{1500, 1000, "reading 100 % ━━━━━━━━━━━━━━━━━━━━━━━━ 1.5 kB of 1.0 kB  750 B/s"}, // it grows
		{3e6, 0, "reading  3.0 MB  1.5 MB/s"},
	} {
		if got := progress(c.done, c.size, 2*time.Second); got != c.want {
			t.Errorf("progress(%d, %d) = %q\nwant %q", c.done, c.size, got, c.want)
		}
	}
}

// TestBadCaptureIsNamed: the error says which file is no capture.
func TestBadCaptureIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("hello, this is no capture\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(in, term.New(os.Stderr, true))
	defer p.Close()
	err = Decode(p, nil, httpdec.Options{}, func(*bus.Record) error { return nil }, nil)
	if err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("got %v", err)
	}
}
