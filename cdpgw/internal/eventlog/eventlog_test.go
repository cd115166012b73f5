package eventlog

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"clipper/cdpgw/internal/spill"
)

// Entries come back in order, those of the file, too, to readers that begin
// anywhere and while the log grows.
func TestLog(t *testing.T) {
	f := spill.New(t.TempDir())
	defer f.Close()
	l := New(f)
	const n = 60000
	pad := strings.Repeat("p", 500)
	text := func(i int) string { return fmt.Sprintf(`"method":"M","params":"%d%s"`, i, pad) }
	var readers sync.WaitGroup
	for _, from := range []int{0, 1, 777, n / 2, n - 1} {
		readers.Go(func() {
			r := l.NewReader(uint64(from))
			for i := from; i < n; {
				changed := l.Changed()
				_, err := r.Next(100, func(e Entry) error {
					if string(e.Text) != text(i) || e.PID != i%7 || e.Exchange != uint64(i/3+1) {
						return fmt.Errorf("entry %d: %.60s pid %d exchange %d", i, e.Text, e.PID, e.Exchange)
					}
					i++
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				if r.at >= l.count() && i < n {
					<-changed
				}
			}
		})
	}
	for i := range n {
		if err := l.Append("M", fmt.Sprintf("%d%s", i, pad), i%7, uint64(i/3+1)); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
	if l.unsealed == 0 {
		t.Error("nothing was spilled")
	}
	if l.Rows() != n/3 || l.Start(2) != 3 || l.Start(0) != 0 || l.Start(n) != n {
		t.Errorf("rows %d, start of the second %d", l.Rows(), l.Start(2))
	}
}

func (l *Log) count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Without room on the disk memory has to do.
func TestNoDisk(t *testing.T) {
	l := New(spill.New("/nonexistent"))
	pad := strings.Repeat("p", 4<<10)
	for i := range 10000 {
		if err := l.Append("M", pad, 0, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for r := l.NewReader(0); ; {
		n, err := r.Next(1000, func(Entry) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if seen += n; n == 0 {
			break
		}
	}
	if seen != 10000 {
		t.Errorf("%d entries", seen)
	}
}

func TestUnencodable(t *testing.T) {
	l := New(spill.New(t.TempDir()))
	if err := l.Append("M", func() {}, 0, 1); err == nil {
		t.Error("a function was encoded")
	}
}
