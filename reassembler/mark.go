package reassembler

import "clipper/bus"

// mark is a position that replay must begin at or before, for as long as
// something refers to it.
type mark struct {
	pos  uint64
	refs int
	mark *bus.Mark
}

// here is a mark of the present message.
func (s *Stage) here() *mark { return &mark{pos: s.pos, refs: 1, mark: s.marks.Add(s.pos)} }

func (s *Stage) release(m *mark) {
	if m.refs--; m.refs == 0 {
		s.marks.Remove(m.mark)
	}
}

// depend makes c need m: a fragment that came before c went into it.
func (s *Stage) depend(c *conn, m *mark) {
	if m != nil && m.pos < c.mark.pos {
		m.refs++
		s.release(c.mark)
		c.mark = m
	}
}
