package cdpgw

import (
	"encoding/json"
	"os"
	"sync"
)

// notify tells the spawner the state.
func (g *Gateway) notify() {
	if g.o.OnStatus == nil {
		return
	}
	g.telling.Lock()
	defer g.telling.Unlock()
	g.o.OnStatus(g.Status())
}

// statusWriter writes Status lines to a descriptor, from a goroutine of its
// own and only the newest: a spawner that does not read stops nobody.
type statusWriter struct {
	mu   sync.Mutex
	line []byte
	wake chan struct{}
}

func newStatusWriter(f *os.File) *statusWriter {
	w := &statusWriter{wake: make(chan struct{}, 1)}
	go func() {
		for range w.wake {
			w.mu.Lock()
			line := w.line
			w.line = nil
			w.mu.Unlock()
			if line == nil {
				continue
			}
			if _, err := f.Write(line); err != nil {
				return
			}
		}
	}()
	return w
}

func (w *statusWriter) tell(s Status) {
	b, err := json.Marshal(s)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.line = append(b, '\n')
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
