package read

import (
	"testing"
	"time"
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
