// Package tui is the full-screen view of a session: the list of exchanges, one of
// them with its headers and bodies, and what the command prints. What flows in are
// exchanges, verdicts and output, from any goroutine; what flows out is a screen.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	tea "charm.land/bubbletea/v2"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
	"clipper/internal/term"
)

// Limits on what a view remembers; the oldest go first.
const (
	maxRows   = 50_000
	maxBodies = 1 << 30 // bytes, in the sink's file
)

// Options of a view.
type Options struct {
	Title string
	// Interrupt is Ctrl-C: it ends the command, and reports whether there was one
	// to end; else Ctrl-C leaves the view.
	Interrupt func() bool
}

// View is a full-screen view. Its methods may be called from any goroutine.
type View struct {
	o    Options
	tty  *os.File
	done chan struct{} // closed when Run has ended

	mu     sync.Mutex
	fresh  []*row // not yet seen by the model
	rows   []*row // all that are remembered
	bodies uint64 // bytes of their bodies
	status string
	output output
}

// row is an exchange or a connection without one.
type row struct {
	exchange *exchange.Exchange
	verdict  *bus.Verdict
	line     term.Line
	source   har.BodySource // nil: its bodies are forgotten
	forget   func()
}

// New takes the terminal of the process.
func New(o Options) (*View, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("--tui needs a terminal, and this process has none: leave --tui out, or use DevTools")
	}
	return &View{o: o, tty: tty, done: make(chan struct{})}, nil
}

// Run shows the view until the user leaves it or ctx ends.
func (v *View) Run(ctx context.Context) error {
	defer close(v.done)
	defer v.tty.Close()
	p := tea.NewProgram(newModel(v), tea.WithContext(ctx), tea.WithInput(v.tty), tea.WithOutput(v.tty), tea.WithoutSignalHandler())
	_, err := p.Run()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--tui: %w", err)
	}
	return nil
}

// Close gives the terminal back where Run was never called.
func (v *View) Close() error { return v.tty.Close() }

// Done is closed when the user has left the view.
func (v *View) Done() <-chan struct{} { return v.done }

// Exchange adds an exchange; forget frees its bodies.
func (v *View) Exchange(x *exchange.Exchange, l term.Line, source har.BodySource, forget func()) {
	v.add(&row{exchange: x, line: l, source: source, forget: forget})
}

// Verdict adds a connection that cannot be read.
func (v *View) Verdict(d *exchange.Verdict, process string) {
	v.add(&row{exchange: &exchange.Exchange{Conn: d.Conn, Connection: d.Connection, Process: d.Process}, verdict: &d.Verdict,
		line: term.Line{URL: d.Peer(), Process: process, Failure: string(d.Verdict.Code)}})
}

func (v *View) add(r *row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fresh = append(v.fresh, r)
	v.rows = append(v.rows, r)
	v.bodies += r.size()
	for len(v.rows) > maxRows || v.bodies > maxBodies && len(v.rows) > 1 {
		old := v.rows[0]
		v.rows[0] = nil
		v.rows = v.rows[1:]
		v.bodies -= old.size()
		if old.forget != nil {
			old.forget()
		}
		old.source = nil
	}
}

func (r *row) size() uint64 { return r.exchange.Decoded[0] + r.exchange.Decoded[1] }

// Status says how the session stands: "running", "ended".
func (v *View) Status(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = text
}

// take gives the model what is new, and how many of the oldest rows are left.
func (v *View) take() (fresh []*row, left int, status string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fresh, v.fresh = v.fresh, nil
	return fresh, len(v.rows), v.status
}

// body reads the beginning of a body, and gives its whole size.
func (v *View) body(r *row, dir bus.Dir, limit int64) (text []byte, size uint64, gone bool) {
	v.mu.Lock()
	source := r.source
	v.mu.Unlock()
	if r.exchange.Decoded[dir] == 0 {
		return nil, 0, false
	}
	if source == nil {
		return nil, 0, true
	}
	body, size, err := source.Body(r.exchange.Conn, r.exchange.Stream, dir)
	if err != nil {
		return nil, 0, true
	}
	defer body.Close()
	text = make([]byte, min(size, uint64(limit)))
	n, _ := io.ReadFull(body, text)
	return text[:n], size, false
}
