// Package sink makes the files and the terminal lines of a session out of the
// layers HTTP, Body, Proc and Keys. What flows in are records, in the order in
// which they come, of all partitions; what flows out are HAR entries, JSON
// lines, key log lines and request lines.
package sink

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"clipper/bus"
	"clipper/httpdec/bodystore"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
	"clipper/internal/expect"
	"clipper/internal/filter"
	"clipper/internal/redact"
	"clipper/internal/term"
)

// Options say what to make. An empty name makes nothing, "-" is standard output.
type Options struct {
	HAR     string
	JSON    string
	KeyLog  string
	Packets string // pcapng file of the frames, secrets and processes
	Version string // of Clipper, for the HAR
	// Live says that the records come from a session that runs, each layer by a
	// stream of its own, not from a file.
	Live bool
	// Keep is another file as Packets, of KeepMax bytes at most; 0 is no limit.
	Keep    string
	KeepMax int64
	Dir     string // for the spool of bodies
	// Terminal gets a line for each exchange and each verdict; nil is none.
	Terminal *term.Terminal
	// View gets the exchanges and verdicts that pass, too; nil: nobody.
	View View
	// Filter chooses the exchanges and verdicts of HAR, JSON and Terminal; nil: all.
	Filter *filter.Filter
	// Decided is told of each exchange, when it has ended, whether it passed; of a
	// verdict with stream 0. It must not call the sink. nil: nobody.
	Decided func(conn bus.ConnID, stream uint64, pass bool)
	// Failed is told at once, and once, of each output that cannot be written any
	// more; the others go on. It must not call the sink. nil: Close tells.
	Failed func(error)
	// Expect is told of all of them; nil: nobody.
	Expect *expect.Expectations
	// Redact takes the credentials out of HAR, JSON, Terminal and what Expect reports; nil: they stay.
	Redact *redact.Redactor
}

// View shows exchanges and may read their bodies until it forgets them.
type View interface {
	Exchange(x *exchange.Exchange, l term.Line, bodies har.BodySource, forget func())
	Verdict(v *exchange.Verdict, process string)
}

// Sink is safe for concurrent use.
type Sink struct {
	o      Options
	mu     sync.Mutex
	fold   *exchange.Fold
	bodies *bodystore.Store
	source har.BodySource // of bodies, as the files show them
	har    *har.Writer
	lines  *har.LineWriter
	keys   map[string]bool                     // lines written, so that each is written once
	judged recent[bus.ConnID, bus.VerdictCode] // as counted
	said   recent[bus.ConnID, bus.Verdict]     // as printed
	doubts map[bus.ConnID]*time.Timer          // verdicts that may yet prove wrong
	errs   []error                             // without Failed
	closed bool
	totals totals
	passed map[exchangeID]bool // with Live: exchanges that were passed on, so that each is once
	unfit  bool                // the filter could not be evaluated, which was said

	readsBodies           bool // by the expressions
	bodyless              bool // bodies cannot be stored any more
	harFile, json, keylog *os.File
	harPipe               *os.File // where the HAR goes in the end; nil: it is there
	packets               []*packets

	held     []waiting // for the name of their process
	wait     time.Duration
	timer    *time.Timer
	procEnds int // writers of Proc that are done
}

// How long an exchange is held back for the name of its process, which comes by
// another stream than the exchange: longer where the name decides something.
const (
	processWait = 300 * time.Millisecond
	processNeed = 10 * time.Second
)

// exchangeID names an exchange.
type exchangeID struct {
	conn   bus.ConnID
	stream uint64
}

// maxPassed bounds the memory for exchanges that were passed on; beyond it, one
// that comes again is there twice.
const maxPassed = 1 << 20

// Again says that the events of all connections will come again, from the
// beginning, decoded anew. What was passed on stays as it was.
func (s *Sink) Again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fold.Again()
}

// maxKeys bounds the memory for lines already written.
const maxKeys = 1 << 20

// New opens the files of o.
func New(o Options) (*Sink, error) {
	s := &Sink{o: o, keys: map[string]bool{}, doubts: map[bus.ConnID]*time.Timer{}, passed: map[exchangeID]bool{}, totals: newTotals()}
	s.fold = exchange.New(exchange.Handler{Exchange: s.finished, Verdict: s.verdict})
	s.wait = processWait
	if s.o.Filter.Uses(filter.OfProcess...) || s.o.Expect.Uses(filter.OfProcess...) {
		s.wait = processNeed
	}
	if err := s.open(); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *Sink) open() (err error) {
	s.readsBodies = s.o.Filter.Uses(filter.Body) || s.o.Expect.Uses(filter.Body)
	if s.o.HAR != "" || s.o.JSON != "" || s.o.View != nil || s.readsBodies {
		if s.bodies, err = bodystore.New(s.o.Dir); err != nil {
			return err
		}
	}
	s.source = s.bodies
	mode := os.FileMode(0o600) // passwords and cookies are in it
	if s.o.Redact != nil {
		s.source = s.o.Redact.Bodies(s.bodies)
		mode = 0o644
	}
	if s.o.HAR != "" {
		if err = s.openHAR(mode); err != nil {
			return err
		}
	}
	if s.o.JSON != "" {
		if err = s.openLines(mode); err != nil {
			return err
		}
	}
	if s.o.KeyLog != "" {
		if s.keylog, err = Create("--keylog", s.o.KeyLog, 0o600); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		option, path string
		limit        int64
	}{{"-w", s.o.Packets, 0}, {"--keep", s.o.Keep, s.o.KeepMax}} {
		if f.path == "" {
			continue
		}
		p, err := openPackets(f.option, f.path, s.o.Live, f.limit)
		if err != nil {
			return err
		}
		s.packets = append(s.packets, p)
	}
	return nil
}

// Process takes one record. It keeps neither the record nor its payload. The error
// is ErrIdle: more records are of no use.
func (s *Sink) Process(r *bus.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Layer {
	case bus.HTTP:
		if e, ok := r.Event.(*bus.Event); ok {
			s.fold.Event(e)
		}
	case bus.Body:
		if s.bodies != nil && r.Type == bus.BodyBytes {
			if err := s.bodies.Add(r); err != nil && !s.bodyless {
				s.bodyless = true
				s.fail("bodies", fmt.Errorf("%w: they are missing from here on", err))
				s.bodies.Flush()
			}
		}
	case bus.Proc:
		if e, ok := r.Event.(*bus.ProcEvent); ok {
			if e.Type == bus.ProcEOS {
				s.procEnds++
			}
			s.fold.Proc(e)
			s.release(false)
		}
		s.packet(r)
	case bus.Keys:
		s.key(r)
		s.packet(r)
	case bus.Frames:
		if r.Type == bus.Dropped {
			s.totals.lost += uint64(r.Aux)
		}
		s.packet(r)
	}
	if s.idle() {
		return ErrIdle
	}
	return nil
}

// key writes a secret as a line, each line once.
func (s *Sink) key(r *bus.Record) {
	if s.keylog == nil || r.Type != bus.Secret {
		return
	}
	secret, err := bus.ParseSecret(r)
	if err != nil {
		return
	}
	line := secret.KeyLogLine() + "\n"
	if s.keys[line] {
		return
	}
	if len(s.keys) < maxKeys {
		s.keys[line] = true
	}
	if _, err = s.keylog.WriteString(line); err != nil {
		s.fail("--keylog", errors.Join(err, closeFile(s.keylog)))
		s.keylog = nil
	}
}
