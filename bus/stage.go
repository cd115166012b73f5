package bus

import "math"

// Stage is a decoder: a pure state machine from records to records. It has no
// clock, goroutine, I/O or log; time is the records' time. The same input in
// the same order gives the same output, byte for byte. Inputs on side layers
// (Keys) may come earlier or later relative to the main input: that changes
// when output appears, never what has appeared once both are consumed.
//
// A stage receives EOS once for each of its input layers; after the last it
// closes what is open and emits EOS on each of its output layers.
//
// Life cycle: make it with its package's New; Process any number of records;
// drop it. A driver that restarts a stage makes a new one and replays, from the
// message Low or an earlier one, all side input perhaps before it: records of
// what began before the replay and is over by its end must leave no trace, and
// a limit that decides something must not depend on when side input came.
type Stage interface {
	// Takes lists the layers that Process wants.
	Takes() []Layer
	// Gives lists the layers that Process emits.
	Gives() []Layer
	// Process consumes one record and hands its results to emit, in order.
	// Neither side keeps the other's record or payload after the call.
	Process(r *Record, emit func(*Record))
	// Low is the lowest Record.Pos of the main input that is needed to rebuild
	// the present state by replay: that of the first record of the oldest thing
	// still remembered. It is None when nothing is.
	Low() uint64
}

// Snapshotter is a stage whose state can be stored, so that a connection that
// stays open for hours does not pin the log it came from.
//
// Restored into a new stage, a snapshot continues as the stage that gave it would
// have: the same main input gives the same output from there on. Side input is
// not part of it: the driver feeds the side layers again from their beginning,
// before or after Restore.
type Snapshotter interface {
	Stage
	// AppendSnapshot appends the state after the last Process to b. It changes
	// nothing that Process would notice, and holds secrets if the state does.
	AppendSnapshot(b []byte) []byte
	// Restore takes over a snapshot. It is called once, before the first record of
	// the main input. Damaged input gives an error and leaves the stage unusable.
	// Afterwards Low counts what was restored as beginning at pos.
	Restore(b []byte, pos uint64) error
}

// Rereader is a stage that bounds what it holds back while it waits for side input
// by leaving records of a main input in the log, to have them read again.
type Rereader interface {
	Stage
	// Message says that the records that come next, in Process or Reread, are those
	// of message seq of the main input l. A driver that calls it looks at Again after
	// each record of side input; a stage without it leaves nothing in the log.
	Message(l Layer, seq uint64)
	// Again reports whether records that were processed are wanted once more: those
	// of the main input l from message seq on.
	Again() (l Layer, seq uint64, ok bool)
	// Reread is Process for them. The driver gives all that are still in the log, up to
	// the last one processed, then a record of type EOS.
	Reread(r *Record, emit func(*Record))
}

// None is Low without state.
const None uint64 = math.MaxUint64

// LowMark tracks the lowest Pos of the things a stage remembers. Add when a
// thing is first seen and Remove the token when it is forgotten. Positions are
// added in ascending order. The zero value is ready.
type LowMark struct {
	head, tail *Mark
}

// Mark is one remembered position.
type Mark struct {
	pos        uint64
	prev, next *Mark
}

// Add remembers pos.
func (l *LowMark) Add(pos uint64) *Mark {
	m := &Mark{pos: pos, prev: l.tail}
	if l.tail != nil {
		l.tail.next = m
	} else {
		l.head = m
	}
	l.tail = m
	return m
}

// Remove forgets a mark; nil and a second Remove do nothing.
func (l *LowMark) Remove(m *Mark) {
	if m == nil || (m.prev == nil && l.head != m) {
		return
	}
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.head = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		l.tail = m.prev
	}
	m.prev, m.next = nil, nil
}

// Low is the lowest position, or None.
func (l *LowMark) Low() uint64 {
	if l.head == nil {
		return None
	}
	return l.head.pos
}

// Chain runs stages in one process by function calls. A record goes to the
// first stage that takes its layer and was not upstream of it; what no stage
// takes goes to the sink.
type Chain struct {
	stages []Stage
	takes  []map[Layer]bool
	emit   []func(*Record)
	sink   func(*Record)
}

// NewChain links stages in the order given; sink receives every record that no
// later stage takes.
func NewChain(sink func(*Record), stages ...Stage) *Chain {
	c := &Chain{stages: stages, sink: sink}
	for i, s := range stages {
		t := map[Layer]bool{}
		for _, l := range s.Takes() {
			t[l] = true
		}
		c.takes = append(c.takes, t)
		c.emit = append(c.emit, func(r *Record) { c.pass(i+1, r) })
	}
	return c
}

// Process feeds one record.
func (c *Chain) Process(r *Record) { c.pass(0, r) }

func (c *Chain) pass(from int, r *Record) {
	for i := from; i < len(c.stages); i++ {
		if c.takes[i][r.Layer] {
			c.stages[i].Process(r, c.emit[i])
			return
		}
	}
	c.sink(r)
}
