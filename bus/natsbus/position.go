package natsbus

import (
	"fmt"
	"slices"

	"clipper/bus"
)

// The inputs of a stage. Their order among each other is free: records of two
// inputs concern different connections, or the stage waits for one of them
// (Keys). So where a stage is, is told by one number for each input.
const (
	mainInput = iota
	secondInput
	sideInput
	inputs
)

// position is the sequence of the last message consumed, for each input.
type position [inputs]uint64

// point is how far an output was published: the output of everything up to pos,
// and skip records of the output of the message of input next that was consumed
// after pos.
type point struct {
	pos  position
	skip uint32
	next bus.Layer
}

func pointOf(p bus.Progress) point {
	return point{position{p.Source, p.Second, p.Side}, p.Skip, p.Next}
}

func (p point) progress(low position) bus.Progress {
	return bus.Progress{
		Source: p.pos[mainInput], Low: low[mainInput], Second: p.pos[secondInput], SecondLow: low[secondInput],
		Side: p.pos[sideInput], Skip: p.skip, Next: p.next,
	}
}

// route sorts the points of a stage's outputs by the order in which the stage
// came past them. One run passed them all, so they are in order for each input.
func route(outs []*output) ([]*output, error) {
	outs = slices.Clone(outs)
	slices.SortStableFunc(outs, func(a, b *output) int { return slices.Compare(a.point.pos[:], b.point.pos[:]) })
	for i := 1; i < len(outs); i++ {
		a, b := outs[i-1].point, outs[i].point
		for in := range inputs {
			if a.pos[in] > b.pos[in] {
				return nil, fmt.Errorf("natsbus: layers %v and %v were not written by the same stage: %v and %v", outs[i-1].layer, outs[i].layer, a.pos, b.pos)
			}
		}
		if a.pos == b.pos && a.skip > 0 && b.skip > 0 && a.next != b.next {
			return nil, fmt.Errorf("natsbus: layers %v and %v were not written by the same stage: after %v follows a message of %v and of %v", outs[i-1].layer, outs[i].layer, a.pos, a.next, b.next)
		}
	}
	return outs, nil
}

// merge numbers the messages of two main inputs in the order of consumption,
// so that a stage may treat their positions as ascending, and translates back.
type merge struct {
	runs []run // ascending; only those that may still be asked for
	last uint64
	pos  position // main and second
}

// run is a stretch of messages of one input, without gaps.
type run struct {
	first  uint64   // number of the first
	before position // consumed before it
	input  int
}

// add numbers message seq of an input.
func (m *merge) add(input int, seq uint64) uint64 {
	m.last++
	gap := seq != m.pos[input]+1
	m.pos[input] = seq - 1
	if n := len(m.runs); n == 0 || gap || m.runs[n-1].input != input {
		m.runs = append(m.runs, run{m.last, m.pos, input})
	}
	m.pos[input] = seq
	return m.last
}

// from is where to begin, for each input, to see all messages from number on.
// Later questions are about that number or a higher one.
func (m *merge) from(number uint64) position {
	for len(m.runs) > 1 && m.runs[1].first <= number {
		m.runs = m.runs[1:]
	}
	p := m.pos
	if len(m.runs) > 0 && number <= m.last {
		r := m.runs[0]
		p = r.before
		p[r.input] += number - min(number, r.first)
	}
	p[mainInput]++
	p[secondInput]++
	return p
}
