package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// wire writes down what a Conn sends, numbers relative to its ISS and to the
// other end's 1000.
type wire struct{ lines []string }

func (w *wire) Send(s *Segment, b *Buffer) {
	flags := ""
	for i, name := range []string{"F", "S", "R", "P", "A"} {
		if s.Flags&(1<<i) != 0 {
			flags += name
		}
	}
	line := fmt.Sprintf("%s %d", flags, int32(s.Seq))
	if s.Flags&ACK != 0 {
		line += fmt.Sprintf(" ack %d", int32(s.Ack-1000))
	}
	if s.Flags&RST == 0 {
		line += fmt.Sprintf(" win %d", s.Window)
	}
	if len(s.Payload) > 0 {
		line += fmt.Sprintf(" %.20q", s.Payload)
	}
	w.lines = append(w.lines, line)
}

// sent takes what was sent since the last time.
func (w *wire) sent() string {
	s := strings.Join(w.lines, "\n")
	w.lines = nil
	return s
}

// end is a Conn, the wire and the clock of a test. The other end's numbers
// begin at 1000.
type end struct {
	*testing.T
	*wire
	c    *Conn
	now  time.Duration
	pool Pool
}

func (e *end) options() Options {
	return Options{MaxMSS: 1000, Window: 4096, Release: e.pool.Put}
}

// accepted is an end whose other end has a window of 5000 bytes.
func accepted(t *testing.T) *end {
	e := &end{T: t, wire: &wire{}}
	e.c = Accept(e, e.options(), &Segment{Flags: SYN, Seq: 1000, Window: 5000, MSS: 1400, HasScale: true}, 0)
	e.expect("SA 0 ack 1 win 4096")
	if ev := e.in(ACK, 1, 1, ""); !ev.Connected {
		t.Fatal("not connected")
	}
	e.expect("")
	return e
}

// in brings a segment with a window of 5000.
func (e *end) in(flags byte, seq, ack int, data string) Event {
	return e.input(Segment{Flags: flags, Seq: uint32(1000 + seq), Ack: uint32(ack), Window: 5000, Payload: []byte(data)})
}

func (e *end) input(s Segment) Event {
	ev := e.c.Input(&s, e.now)
	if now, _ := e.c.NeedsAck(); now {
		e.c.Flush()
	}
	return ev
}

func (e *end) write(data string) {
	b := e.pool.Get(len(data))
	b.Fill(copy(b.Room(), data))
	e.c.Write(b, true, e.now)
}

func (e *end) expect(want string) {
	e.Helper()
	if got := e.sent(); got != want {
		e.Errorf("sent\n%s\nnot\n%s", got, want)
	}
}

// tick lets time pass until the next deadline.
func (e *end) tick() Event {
	e.now = e.c.Deadline()
	return e.c.Tick(e.now)
}

func TestAnswerTakesAcknowledgementAlong(t *testing.T) {
	e := accepted(t)
	if got := e.in(ACK|PSH, 1, 1, "request").Data; string(got) != "request" {
		t.Errorf("got %q", got)
	}
	if now, later := e.c.NeedsAck(); now || !later {
		t.Error("the acknowledgement does not wait")
	}
	e.expect("")
	e.write("answer")
	e.expect(`PA 1 ack 8 win 32 "answer"`)
	if now, later := e.c.NeedsAck(); now || later {
		t.Error("an acknowledgement is still due")
	}
}

func TestConnect(t *testing.T) {
	e := &end{T: t, wire: &wire{}}
	e.c = Connect(e, e.options(), 0)
	e.expect("S 0 win 4096")
	e.tick()
	e.expect("S 0 win 4096")
	if ev := e.in(SYN|ACK, 0, 1, ""); !ev.Connected {
		t.Error("not connected")
	}
	e.expect("A 1 ack 1 win 4096") // no scale was offered
}

func TestConnectRefused(t *testing.T) {
	e := &end{T: t, wire: &wire{}}
	e.c = Connect(e, e.options(), 0)
	e.sent()
	if ev := e.in(RST|ACK, 0, 77, ""); ev.Reset {
		t.Error("a RST for something else was believed")
	}
	if ev := e.in(RST|ACK, 0, 1, ""); !ev.Reset {
		t.Error("not refused")
	}
}

func TestEverySecondFullSegmentIsAcknowledged(t *testing.T) {
	e := accepted(t)
	full := strings.Repeat("x", 1000)
	e.in(ACK, 1, 1, full)
	e.expect("")
	e.in(ACK, 1001, 1, full)
	e.expect("A 1 ack 2001 win 32")
}

func TestKeepAliveIsAnswered(t *testing.T) {
	e := accepted(t)
	e.in(ACK, 0, 1, "")
	e.expect("A 1 ack 1 win 32")
}

func TestGapAndOverlap(t *testing.T) {
	e := accepted(t)
	if got := e.in(ACK, 4, 1, "def").Data; len(got) > 0 {
		t.Errorf("took %q behind a gap", got)
	}
	e.expect("A 1 ack 1 win 32")
	if got := e.in(ACK, 1, 1, "abc").Data; string(got) != "abc" {
		t.Errorf("took %q", got)
	}
	if got := e.in(ACK, 2, 1, "bcdef").Data; string(got) != "def" {
		t.Errorf("took %q of an overlap", got)
	}
	e.expect("A 1 ack 7 win 32")
}

func TestWindowIsKept(t *testing.T) {
	e := accepted(t)
	e.c.SetBacklog(0, 4096)
	s := Segment{Flags: ACK, Seq: 1001, Ack: 1, Window: 5000, Payload: make([]byte, 5000)}
	if got := e.c.Input(&s, 0).Data; len(got) != 4096 {
		t.Errorf("took %d bytes", len(got))
	}
	e.c.SetBacklog(4096, 4096)
	e.c.Flush()
	e.expect("A 1 ack 4097 win 0")
	e.in(ACK, 4097, 1, "y") // a probe
	e.expect("A 1 ack 4097 win 0")
	e.c.SetBacklog(3000, 4096)
	e.c.Flush()
	e.expect("") // not for a little
	e.c.SetBacklog(1000, 4096)
	e.c.Flush()
	e.expect("A 1 ack 4097 win 24")
	e.c.SetBacklog(4096, 4096)
	e.in(ACK, 4096, 1, "")
	e.expect("A 1 ack 4097 win 24") // what was promised
}

func TestReset(t *testing.T) {
	e := accepted(t)
	if ev := e.in(RST, 50, 1, ""); ev.Reset {
		t.Error("a RST in the middle of the window was believed")
	}
	e.expect("A 1 ack 1 win 32")
	if ev := e.in(RST, 50000, 1, ""); ev.Reset {
		t.Error("a RST beyond the window was believed")
	}
	e.expect("")
	if ev := e.in(RST, 1, 1, ""); !ev.Reset {
		t.Error("a RST was not")
	}
}

func TestNewSYNIsChallenged(t *testing.T) {
	e := accepted(t)
	e.in(SYN, 9, 0, "")
	e.expect("A 1 ack 1 win 32")
}

func TestAbort(t *testing.T) {
	e := accepted(t)
	e.write("last words")
	e.sent()
	e.c.Abort()
	e.expect("RA 11 ack 1")
	if n := e.pool.Used(); n != 0 {
		t.Errorf("%d bytes are still in use", n)
	}
}

func TestEnds(t *testing.T) {
	for name, theyFirst := range map[string]bool{"they end first": true, "we end first": false} {
		t.Run(name, func(t *testing.T) {
			e := accepted(t)
			var ev Event
			if theyFirst {
				if ev := e.in(FIN|ACK, 1, 1, "bye"); !ev.End || string(ev.Data) != "bye" || ev.Closed {
					t.Errorf("event %+v", ev)
				}
				e.expect("A 1 ack 5 win 32")
				e.c.CloseWrite(0)
				e.expect("FA 1 ack 5 win 32")
				ev = e.in(ACK, 5, 2, "")
			} else {
				e.c.CloseWrite(0)
				e.expect("FA 1 ack 1 win 32")
				e.in(ACK, 1, 2, "")
				if ev := e.in(ACK, 1, 2, "more"); string(ev.Data) != "more" {
					t.Error("a half-closed connection takes nothing")
				}
				ev = e.in(FIN|ACK, 5, 2, "")
				e.expect("A 2 ack 6 win 32")
			}
			if !ev.Closed {
				t.Error("not closed")
			}
		})
	}
}

func TestRetransmission(t *testing.T) {
	e := accepted(t)
	e.write("one")
	e.write("two")
	e.c.CloseWrite(0)
	e.sent()
	e.tick()
	e.expect(`PA 1 ack 1 win 32 "one"`)
	e.in(ACK, 1, 3, "") // a part
	e.expect(`PA 3 ack 1 win 32 "e"`)
	e.in(ACK, 1, 4, "")
	e.expect(`PA 4 ack 1 win 32 "two"`)
	e.in(ACK, 1, 7, "")
	e.expect("FA 7 ack 1 win 32")
	e.in(ACK, 1, 8, "")
	e.expect("")
	if d := e.c.Deadline(); d != 0 {
		t.Errorf("something is due at %v", d)
	}
}

func TestThreeDuplicatesRetransmit(t *testing.T) {
	e := accepted(t)
	e.write("one")
	e.write("two")
	e.sent()
	for range 4 {
		e.in(ACK, 1, 1, "")
	}
	e.expect(`PA 1 ack 1 win 32 "one"`)
}

func TestSilenceEndsIt(t *testing.T) {
	e := accepted(t)
	e.write("anybody?")
	for range 100 {
		if e.tick().Lost {
			if e.now < time.Minute || e.now > 5*time.Minute {
				t.Errorf("given up after %v", e.now)
			}
			return
		}
	}
	t.Error("never given up")
}

func TestZeroWindowIsProbed(t *testing.T) {
	e := accepted(t)
	shut := Segment{Flags: ACK, Seq: 1001, Ack: 1}
	e.input(shut)
	if n := e.c.Room(); n != 0 {
		t.Fatalf("room for %d bytes", n)
	}
	e.c.Block(0)
	for range 100 { // for ever
		e.tick()
		e.expect("A 0 ack 1 win 32")
		e.input(shut)
	}
	e.in(ACK, 1, 1, "")
	if n := e.c.Room(); n != 5000 {
		t.Errorf("room for %d bytes", n)
	}
	if d := e.c.Deadline(); d != 0 {
		t.Errorf("something is due at %v", d)
	}
}

// A program that has closed is asked now and then whether it is still there: a
// kernel forgets such a connection without a word.
func TestHalfClosedIsAskedForPresence(t *testing.T) {
	e := accepted(t)
	e.in(ACK|FIN, 1, 1, "")
	e.expect("A 1 ack 2 win 32")
	for range 3 { // it reads on
		if ev := e.tick(); ev.Closed || ev.Reset || ev.Lost {
			t.Fatalf("%+v", ev)
		}
		e.expect("A 0 ack 2 win 32")
		e.in(ACK, 2, 1, "")
	}
	e.tick()
	if ev := e.in(RST, 2, 0, ""); !ev.Reset {
		t.Errorf("%+v after it was forgotten", ev)
	}
	if d := e.c.Deadline(); d != 0 {
		t.Errorf("something is due at %v", d)
	}
}

// A program that does not read for hours acknowledges nothing, but it is there.
func TestZeroWindowBehindDataIsNotGivenUp(t *testing.T) {
	e := accepted(t)
	e.write("dropped")
	for range 100 {
		e.input(Segment{Flags: ACK, Seq: 1001, Ack: 1})
		if e.tick().Lost {
			t.Fatalf("given up after %v", e.now)
		}
	}
	for range 100 {
		if e.tick().Lost {
			return
		}
	}
	t.Error("never given up, although nothing is heard")
}

func TestFINWaitsForWindow(t *testing.T) {
	e := accepted(t)
	e.input(Segment{Flags: ACK, Seq: 1001, Ack: 1})
	e.c.CloseWrite(0)
	e.expect("")
	e.in(ACK, 1, 1, "")
	e.expect("FA 1 ack 1 win 32")
}

// lossy is a link between two Conns that loses some segments.
type lossy struct {
	rng   *rand.Rand
	lose  float64
	queue [][]byte
}

func (l *lossy) Send(s *Segment, b *Buffer) {
	if l.rng.Float64() >= l.lose {
		l.queue = append(l.queue, encode(s))
	}
}

// TestLossyLink moves bytes both ways between two Conns, of which one takes them
// slowly, until both streams have ended.
func TestLossyLink(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		lose := float64(seed%5) / 20
		type side struct {
			link     lossy
			c        *Conn
			pool     Pool
			out      []byte // to be written
			in, kept []byte // received; not taken yet
			over     bool
		}
		var a, b side
		for i, s := range []*side{&a, &b} {
			s.link = lossy{rng: rng, lose: lose}
			s.out = bytes.Repeat([]byte{byte('a' + i), 1, 2, 3, 4, 5, 6}, 3000+rng.IntN(3000))
		}
		wantA, wantB := b.out, a.out
		now := time.Duration(0)
		a.c = Connect(&a.link, Options{ISS: rng.Uint32(), MaxMSS: 1460, Window: 20000, Release: a.pool.Put}, now)
		done := func(s *side) bool { return s.over }
		for steps := 0; !done(&a) || !done(&b); steps++ {
			if steps > 200000 {
				t.Fatalf("seed %d: no end: %d and %d bytes of %d and %d", seed, len(a.in), len(b.in), len(wantA), len(wantB))
			}
			moved := false
			for _, x := range [][2]*side{{&a, &b}, {&b, &a}} {
				from, to := x[0], x[1]
				for len(from.link.queue) > 0 {
					s, _ := Parse(from.link.queue[0])
					from.link.queue = from.link.queue[1:]
					moved = true
					if to.c == nil {
						to.c = Accept(&to.link, Options{ISS: rng.Uint32(), MaxMSS: 1460, Window: 20000, Release: to.pool.Put}, &s, now)
						continue
					}
					ev := to.c.Input(&s, now)
					to.kept = append(to.kept, ev.Data...)
					if ev.Lost {
						t.Fatalf("seed %d: given up", seed)
					}
					// The last acknowledgement may get lost: then the other end hears
					// nothing more, or a RST.
					to.over = to.over || ev.Closed
				}
			}
			for i, s := range []*side{&a, &b} {
				if s.c == nil {
					continue
				}
				take := len(s.kept)
				if i == 1 {
					take = min(take, 500)
				}
				s.in, s.kept = append(s.in, s.kept[:take]...), s.kept[take:]
				s.c.SetBacklog(len(s.kept), 20000)
				for n := min(s.c.Room(), MaxPayload, 8000); n > 0 && len(s.out) > 0; n = min(s.c.Room(), 8000) {
					n = min(n, len(s.out))
					buf := s.pool.Get(n)
					buf.Fill(copy(buf.Room(), s.out[:n]))
					s.out = s.out[n:]
					s.c.Write(buf, false, now)
					moved = true
				}
				if len(s.out) > 0 && s.c.Room() == 0 && s.c.InFlight() == 0 {
					s.c.Block(now)
				}
				if len(s.out) == 0 && s.c.state == open {
					s.over = s.c.CloseWrite(now) || s.over
				}
				s.c.Flush()
			}
			if !moved {
				now += 50 * time.Millisecond
				for i, s := range []*side{&a, &b} {
					if s.c != nil && s.c.Tick(now).Lost {
						other := []*side{&b, &a}[i]
						if !other.over {
							t.Fatalf("seed %d: given up", seed)
						}
						s.over = true
					}
				}
			}
		}
		a.in, b.in = append(a.in, a.kept...), append(b.in, b.kept...)
		if !bytes.Equal(a.in, wantA) || !bytes.Equal(b.in, wantB) {
			t.Errorf("seed %d: the streams differ", seed)
		}
		if lose == 0 && (a.pool.Used() != 0 || b.pool.Used() != 0) {
			t.Errorf("seed %d: %d and %d bytes are still in use", seed, a.pool.Used(), b.pool.Used())
		}
	}
}

// FuzzInput brings any segments to a connection that has something in flight.
func FuzzInput(f *testing.F) {
	f.Add([]byte{0x10, 1, 1, 5, 0x11, 6, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := accepted(t)
		for b = b[:min(len(b), 2000)]; len(b) >= 4; b = b[4:] {
			s := Segment{Flags: b[0], Seq: uint32(1000 + int(int8(b[1]))), Ack: uint32(int8(b[2])),
				Window: binary.BigEndian.Uint16(b[2:]), Payload: make([]byte, b[3])}
			if n := e.c.Room(); n > 0 {
				e.write(string(make([]byte, min(n, int(b[1])+1))))
			} else {
				e.c.Block(e.now)
			}
			e.input(s)
			if after(e.c.rcvNxt, e.c.edge+1) { // a FIN needs no window
				t.Fatal("took more than the window")
			}
			if b[0]&0x80 != 0 && e.c.Deadline() != 0 {
				e.tick()
			}
			if b[0]&0x40 != 0 {
				e.c.CloseWrite(e.now)
			}
		}
		e.c.Abort()
		if n := e.pool.Used(); n != 0 {
			t.Errorf("%d bytes are still in use", n)
		}
	})
}
