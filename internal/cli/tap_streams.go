package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/httpdec/exchange"
	"clipper/internal/filter"
	"clipper/internal/term"
)

// Limits on what is held back of a connection until it is known whether it passes.
const (
	maxHeldBytes = 1 << 20
	holdTime     = 10 * time.Second // for the process, which comes by another stream
)

// streamTap prints connections of the layers TCP, UDP and Plain.
type streamTap struct {
	o     *tapFlags
	mu    sync.Mutex
	w     *bufio.Writer
	procs *exchange.Fold
	ended int // writers of Proc that are done
	conns map[bus.ConnID]*tappedConn
	last  bus.ConnID // whose bytes were printed last, with --text
}

type tappedConn struct {
	facts   bus.Connection
	held    []bus.Record
	bytes   int
	timer   *time.Timer
	decided bool
	pass    bool
	late    bool // the process was waited for long enough
}

func tapStreams(ctx context.Context, b *natsbus.Bus, l bus.Layer, o *tapFlags, out io.Writer) error {
	t := &streamTap{o: o, w: bufio.NewWriter(out), procs: exchange.New(exchange.Handler{}), conns: map[bus.ConnID]*tappedConn{}}
	err := followInto(ctx, b, func(r *bus.Record) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		if e, ok := r.Event.(*bus.ProcEvent); ok {
			t.proc(e)
		} else {
			t.record(r)
		}
		return t.w.Flush()
	}, l, bus.Proc)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		c.late = true
		t.decide(c)
	}
	if e := t.w.Flush(); err == nil {
		err = e
	}
	return err
}

func (t *streamTap) proc(e *bus.ProcEvent) {
	t.procs.Proc(e)
	if e.Type == bus.ProcEOS {
		t.ended++
	}
	for _, c := range t.conns {
		if len(c.held) > 0 && c.timer != nil {
			t.decide(c)
		}
	}
}

// record prints a record, or holds it back until the facts of its connection are
// there: on Plain those of TLS come after the beginning.
func (t *streamTap) record(r *bus.Record) {
	if r.Conn == 0 {
		return
	}
	c := t.conns[r.Conn]
	if c == nil {
		c = &tappedConn{}
		t.conns[r.Conn] = c
	}
	switch r.Type {
	case bus.Open:
		var open bus.ConnOpen
		if json.Unmarshal(r.Payload, &open) == nil {
			c.facts.Flow, c.facts.Opened = open.Flow, r.Time
		}
	case bus.Info:
		var info bus.TLSInfo
		if json.Unmarshal(r.Payload, &info) == nil {
			c.facts.TLS, c.facts.Protocol = &info, info.ALPN
		}
	}
	if c.decided {
		t.print(c, r)
	} else {
		held := *r
		held.Payload = append([]byte(nil), r.Payload...)
		c.held = append(c.held, held)
		c.bytes += len(r.Payload)
		switch r.Type {
		case bus.Open, bus.Established, bus.Info:
		default:
			t.decide(c)
		}
	}
	if r.Type == bus.End {
		c.late = true
		t.decide(c)
		delete(t.conns, r.Conn)
	}
}

// decide asks the filter, when it can be answered, and lets go what was held back.
func (t *streamTap) decide(c *tappedConn) {
	if c.decided {
		return
	}
	p := t.procs.Process(&c.facts)
	if p.Argv == nil && !c.late && t.ended < bus.ProcWriters && c.bytes < maxHeldBytes && t.o.choice.filter.Uses(filter.OfProcess...) {
		if c.timer == nil {
			c.timer = time.AfterFunc(holdTime, func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				c.late = true
				t.decide(c)
				t.w.Flush()
			})
		}
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.decided = true
	if len(c.held) == 0 {
		return
	}
	c.pass, _ = t.o.choice.filter.Match(filter.OfConnection(c.held[0].Conn, c.facts, p)) // what cannot be evaluated does not pass
	for i := range c.held {
		t.print(c, &c.held[i])
	}
	c.held = nil
}

func (t *streamTap) print(c *tappedConn, r *bus.Record) {
	switch {
	case !c.pass:
	case !t.o.text:
		printRecord(t.w, r, t.o)
	case carries(r):
		if t.last != r.Conn {
			t.title(c, r)
		}
		printText(t.w, r)
	case r.Type == bus.Gap:
		fmt.Fprintf(t.w, "? %d bytes are missing here\n", r.Aux)
	}
}

// title says whose text follows.
func (t *streamTap) title(c *tappedConn, r *bus.Record) {
	t.last = r.Conn
	var b strings.Builder
	fmt.Fprintf(&b, "= %s %s %s -> %s", r.Conn, c.facts.Transport, c.facts.Client, c.facts.Server)
	if i := c.facts.TLS; i != nil {
		fmt.Fprintf(&b, " %s %s %s", i.SNI, i.Version, i.ALPN)
	}
	if p := t.procs.Process(&c.facts); p.PID != 0 {
		fmt.Fprintf(&b, " %s[%d]", filter.ProgramName(p), p.PID)
	}
	fmt.Fprintln(t.w, term.Printable(b.String()))
}

// printText prints bytes as lines of text, > to the server and < from it; what is
// no text is a dot, as in a hexadecimal dump.
func printText(w *bufio.Writer, r *bus.Record) {
	mark := "> "
	if r.Dir == bus.ServerToClient {
		mark = "< "
	}
	for line := range strings.Lines(string(r.Payload)) {
		w.WriteString(mark)
		for i := 0; i < len(line); {
			c, n := utf8.DecodeRuneInString(line[i:])
			switch {
			case c == '\n' || c == '\r' && strings.HasPrefix(line[i+1:], "\n"):
			case c == '\t':
				w.WriteByte('\t')
			case c == utf8.RuneError && n == 1 || term.Printable(line[i:i+n]) != line[i:i+n]:
				w.WriteByte('.')
			default:
				w.WriteString(line[i : i+n])
			}
			i += n
		}
		w.WriteByte('\n')
	}
}
