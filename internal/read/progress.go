package read

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/term"
)

// Progress shows on a terminal how much of a capture has been read, if that
// takes more than a second. It is the capture's reader meanwhile.
type Progress struct {
	io.ReadCloser
	size  int64 // 0: not known
	done  atomic.Int64
	start time.Time
	// Finish takes the bar away. Close does so too.
	Finish func()
}

const progressInterval = 100 * time.Millisecond

// NewProgress watches the reading of in until Close.
func NewProgress(in io.ReadCloser, t *term.Terminal) *Progress {
	p := &Progress{ReadCloser: in, start: time.Now()}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	p.Finish = sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	if f, ok := in.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			p.size = fi.Size()
		}
	}
	wg.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				t.Status("")
				return
			case now := <-tick.C:
				if took := now.Sub(p.start); took > time.Second {
					t.Status(progress(p.done.Load(), p.size, took))
				}
			}
		}
	})
	return p
}

// Name is that of the capture's file.
func (p *Progress) Name() string {
	if f, ok := p.ReadCloser.(*os.File); ok {
		return f.Name()
	}
	return "standard input"
}

// Read implements io.Reader.
func (p *Progress) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.done.Add(int64(n))
	return n, err
}

// Close implements io.Closer.
func (p *Progress) Close() error {
	p.Finish()
	return p.ReadCloser.Close()
}

// progress is the bar: done of size bytes (0: unknown) after a time.
func progress(done, size int64, took time.Duration) string {
	rate := float64(done) / took.Seconds()
	speed := fmt.Sprintf("%s/s", term.Size(uint64(rate)))
	if size == 0 {
		return fmt.Sprintf("reading  %s  %s", term.Size(uint64(done)), speed)
	}
	const cells = 24
	part := min(float64(done)/float64(size), 1)
	full := int(part * cells)
	s := fmt.Sprintf("reading %3.0f %% %s%s %s of %s  %s", part*100, strings.Repeat("━", full), strings.Repeat("─", cells-full),
		term.Size(uint64(done)), term.Size(uint64(size)), speed)
	if left := float64(size - done); left > 0 && rate > 0 {
		s += fmt.Sprintf("  %s left", time.Duration(left/rate*float64(time.Second)).Round(time.Second))
	}
	return s
}
