package sink

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/internal/filter"
	"clipper/internal/term"
)

// waiting is an exchange or a verdict that is held back for its process.
type waiting struct {
	exchange *exchange.Exchange
	verdict  *exchange.Verdict
	since    time.Time
}

// finished gets each exchange from the fold; s.mu is held.
func (s *Sink) finished(x *exchange.Exchange) { s.hold(waiting{exchange: x}) }

// verdict gets each verdict from the fold; s.mu is held.
func (s *Sink) verdict(v *exchange.Verdict) { s.hold(waiting{verdict: v}) }

// hold passes w on, at once if its process is known or if nobody waits before it.
func (s *Sink) hold(w waiting) {
	w.since = time.Now()
	s.held = append(s.held, w)
	s.release(false)
	if len(s.held) > 0 && s.timer == nil {
		s.timer = time.AfterFunc(s.wait, s.expire)
	}
}

// expire lets go what was held back for too long.
func (s *Sink) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	s.release(false)
	if len(s.held) > 0 {
		s.timer = time.AfterFunc(s.wait, s.expire)
	}
}

// release passes on, in order, what need not wait any longer; all of it if all.
func (s *Sink) release(all bool) {
	for len(s.held) > 0 {
		w := s.held[0]
		c, p := w.parts()
		if *p = s.fold.Process(c); p.Argv == nil && !all && !s.closed && s.live() && time.Since(w.since) < s.wait {
			return
		}
		s.held = s.held[1:]
		if w.verdict != nil {
			s.writeVerdict(w.verdict)
		} else {
			s.await(w.exchange)
		}
	}
}

// live says that process events may come later than what they concern: not so in
// a file.
func (s *Sink) live() bool { return s.o.Live && s.procEnds < bus.ProcWriters }

func (w waiting) parts() (*bus.Connection, *exchange.Process) {
	if w.verdict != nil {
		return &w.verdict.Connection, &w.verdict.Process
	}
	return &w.exchange.Connection, &w.exchange.Process
}

// await writes x when its bodies are there: they come by a stream of their own.
func (s *Sink) await(x *exchange.Exchange) {
	id := exchangeID{x.Conn, x.Stream}
	if s.passed[id] {
		if s.o.Decided != nil { // what comes again is not wanted again
			s.o.Decided(x.Conn, x.Stream, false)
		}
		if s.bodies != nil {
			s.bodies.Forget(x.Conn, x.Stream)
		}
		return
	}
	if s.o.Live && len(s.passed) < maxPassed {
		s.passed[id] = true
	}
	s.settle(x.Conn)
	shown := x
	if s.o.Redact != nil {
		shown = s.o.Redact.Exchange(x)
	}
	l := line(shown)
	var pass bool
	if !s.readsBodies {
		pass = s.judge(filter.OfExchange(x), shown, l)
	}
	if s.bodies == nil {
		return
	}
	s.bodies.Await(x.Conn, x.Stream, x.Decoded, func() {
		if s.readsBodies {
			row := filter.OfExchange(x)
			row.Bodies = [2]string{s.text(x, bus.ClientToServer), s.text(x, bus.ServerToClient)}
			pass = s.judge(row, shown, l)
		}
		if pass && s.har != nil {
			s.endHAR(s.har.Exchange(shown))
		}
		if pass && s.lines != nil {
			if err := s.lines.Exchange(shown); err != nil {
				s.fail("--json", err)
				s.lines = nil
			}
		}
		forget := func() { s.bodies.Forget(x.Conn, x.Stream) }
		if pass && s.o.View != nil {
			s.o.View.Exchange(shown, l, s.source, forget)
		} else {
			forget()
		}
	})
}

// doubtWait is for how long a preliminary verdict is kept from the terminal: the
// secrets of a short connection may come after its end.
const doubtWait = 2 * time.Second

func (s *Sink) writeVerdict(v *exchange.Verdict) {
	s.fold.Explain(v)
	s.settle(v.Conn)
	if v.Verdict.Preliminary { // files get the final one
		if s.o.Terminal != nil && s.pass(filter.OfVerdict(v)) {
			if s.o.Redact != nil {
				v = s.o.Redact.Verdict(v)
			}
			s.doubts[v.Conn] = time.AfterFunc(doubtWait, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.doubts[v.Conn] != nil && !s.closed {
					s.settle(v.Conn)
					s.sayVerdict(v)
				}
			})
		}
		return
	}
	if s.o.Expect != nil {
		s.o.Expect.Verdict(v)
	}
	pass := s.pass(filter.OfVerdict(v))
	if s.o.Decided != nil {
		s.o.Decided(v.Conn, 0, pass)
	}
	if s.o.Redact != nil {
		v = s.o.Redact.Verdict(v)
	}
	if pass && s.har != nil {
		s.endHAR(s.har.Verdict(v))
	}
	if pass && s.o.View != nil && s.judged.get(v.Conn) != v.Verdict.Code {
		s.o.View.Verdict(v, process(v.Process))
	}
	s.totals.verdict(s.judged.get(v.Conn), v.Verdict.Code)
	s.judged.put(v.Conn, v.Verdict.Code)
	if pass && s.o.Terminal != nil {
		s.sayVerdict(v)
	}
}

// judge tells whoever wants to know of an exchange, but the files, and reports
// whether it passes.
func (s *Sink) judge(row filter.Row, shown *exchange.Exchange, l term.Line) bool {
	x := row.Exchange
	if s.o.Expect != nil {
		s.o.Expect.Exchange(row, shown)
	}
	pass := s.pass(row)
	s.totals.exchange(x, l, pass)
	if s.o.Decided != nil {
		s.o.Decided(x.Conn, x.Stream, pass)
	}
	if pass && s.o.Terminal != nil {
		s.o.Terminal.Exchange(l)
	}
	return pass
}

// text is the beginning of a body, for expressions. What cannot be read is not there.
func (s *Sink) text(x *exchange.Exchange, dir bus.Dir) string {
	body, _, err := s.bodies.Body(x.Conn, x.Stream, dir)
	if err != nil {
		return ""
	}
	defer body.Close()
	b, _ := io.ReadAll(io.LimitReader(body, filter.MaxBody))
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// endHAR adds nothing to the HAR any more, if it cannot be written.
func (s *Sink) endHAR(err error) {
	if err != nil {
		s.fail("--har", err)
		s.har = nil
	}
}

// settle forgets a doubt about a connection.
func (s *Sink) settle(c bus.ConnID) {
	if t := s.doubts[c]; t != nil {
		t.Stop()
		delete(s.doubts, c)
	}
}

// sayVerdict prints a verdict, unless it was said already.
func (s *Sink) sayVerdict(v *exchange.Verdict) {
	now := v.Verdict
	now.Preliminary = false
	if s.said.get(v.Conn) == now {
		return
	}
	s.said.put(v.Conn, now)
	peer := v.Peer()
	s.o.Terminal.Verdict(peer, string(v.Verdict.Code), strings.TrimPrefix(v.Verdict.Reason, peer+": "), v.Verdict.Help, process(v.Process))
}

// pass reports whether the filter lets a row pass. One for which it cannot be
// evaluated does not, and the first time that is said.
func (s *Sink) pass(r filter.Row) bool {
	ok, err := s.o.Filter.Match(r)
	if err != nil && !s.unfit {
		s.unfit = true
		if s.o.Terminal != nil {
			s.o.Terminal.Say("the filter could not be evaluated for some exchanges, which are left out: %v", err)
		}
	}
	return ok
}

// line is what the terminal shows of x.
func line(x *exchange.Exchange) term.Line {
	l := term.Line{Size: x.Wire[bus.ServerToClient], Duration: time.Duration(x.Ended() - x.Started()), Process: process(x.Process)}
	if x.Request != nil {
		l.Method, l.URL = x.Request.Method, x.Request.URL
	}
	if x.RequestEnd != nil {
		l.Content = content(x.RequestEnd.Content)
	}
	if x.Response != nil {
		l.Status = x.Response.Status
	}
	if x.Failure != nil {
		l.Failure = x.Failure.Reason
	} else if !x.Finished() {
		l.Failure = "not finished"
	} else {
		l.Failure = grpcFailure(x)
	}
	return l
}

// content says what of a request its URL does not tell: the operation of GraphQL,
// or how many parts it has.
func content(c *bus.Content) string {
	switch {
	case c == nil:
	case c.Kind == "graphql":
		return strings.TrimSpace(c.OperationType + " " + c.Operation)
	case c.Kind == "multipart" && c.PartCount == 1:
		return "1 part"
	case c.Kind == "multipart":
		return strconv.Itoa(c.PartCount) + " parts"
	}
	return ""
}

// process is "curl[42]": the name that the program was called by.
func process(p exchange.Process) string {
	if p.PID == 0 {
		return ""
	}
	return filter.ProgramName(p) + "[" + strconv.Itoa(p.PID) + "]"
}

// Close writes what is held back and ends the files. It reports the errors of the
// sink's life, without Failed.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.flush()
		s.closed = true
		s.abandon()
	}
	return errors.Join(s.errs...)
}

// Flush passes on what is held back, also what has not ended: nothing will come
// any more.
func (s *Sink) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.flush()
	}
}

func (s *Sink) flush() {
	s.fold.Close()
	s.release(true)
	if s.bodies != nil {
		s.bodies.Flush()
	}
}

// abandon closes what is open.
func (s *Sink) abandon() {
	if s.bodies != nil {
		s.fail("bodies", s.bodies.Close())
	}
	for _, p := range s.packets {
		s.failPackets(p, p.close())
	}
	s.fail("--har", s.closeHAR())
	s.fail("--json", closeFile(s.json))
	s.fail("--keylog", closeFile(s.keylog))
}
