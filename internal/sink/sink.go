// Package sink makes the files and the terminal lines of a session out of the
// layers HTTP, Body, Proc and Keys. What flows in are records, in the order in
// which they come, of all partitions; what flows out are HAR entries, JSON
// lines, key log lines and request lines.
package sink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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

// Options say what to make. An empty name makes nothing.
type Options struct {
	HAR     string // file
	JSON    string // file, "-" is standard output
	KeyLog  string // file
	Packets string // pcapng file of the frames, secrets and processes
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
	err    error
	closed bool
	totals totals
	passed map[exchangeID]bool // with Live: exchanges that were passed on, so that each is once
	unfit  bool                // the filter could not be evaluated, which was said

	harFile, json, keylog *os.File
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
	if s.o.HAR != "" || s.o.JSON != "" || s.o.View != nil {
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
		if s.harFile, err = create(s.o.HAR, mode); err != nil {
			return fmt.Errorf("--har: %w", err)
		}
		if s.har, err = har.NewWriter(s.harFile, s.source, har.Options{}); errors.Is(err, syscall.ESPIPE) {
			return fmt.Errorf("--har: %s is a pipe, and a HAR is completed in place: name a file, or use --json", s.o.HAR)
		} else if err != nil {
			return fmt.Errorf("--har: %w", err)
		}
	}
	switch s.o.JSON {
	case "":
	case "-":
		s.json = os.Stdout
	default:
		if s.json, err = create(s.o.JSON, mode); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if s.json != nil {
		s.lines = har.NewLineWriter(s.json, s.source, har.Options{})
	}
	if s.o.KeyLog != "" {
		if s.keylog, err = create(s.o.KeyLog, 0o600); err != nil {
			return fmt.Errorf("--keylog: %w", err)
		}
	}
	for _, f := range []struct {
		option, path string
		limit        int64
	}{{"-w", s.o.Packets, 0}, {"--keep", s.o.Keep, s.o.KeepMax}} {
		if f.path == "" {
			continue
		}
		p, err := openPackets(f.path, s.o.Live, f.limit)
		if err != nil {
			return fmt.Errorf("%s: %w", f.option, err)
		}
		s.packets = append(s.packets, p)
	}
	return nil
}

// create makes a file for the user; its directory must exist.
func create(path string, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, mode)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: the directory %s does not exist", path, filepath.Dir(path))
	}
	return f, err
}

// Process takes one record. It keeps neither the record nor its payload.
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
			s.note(s.bodies.Add(r))
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
	return s.err
}

func (s *Sink) note(err error) {
	if s.err == nil {
		s.err = err
	}
}

// noteOf is note, of the output that an option asked for.
func (s *Sink) noteOf(option string, err error) {
	if err != nil {
		s.note(fmt.Errorf("%s: %w", option, err))
	}
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
	_, err = s.keylog.WriteString(line)
	s.noteOf("--keylog", err)
}
