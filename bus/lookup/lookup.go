// Package lookup joins connections with the name look-ups before them. The two
// may lie in different partitions of a session, so this is the work of those who
// read all of them: feed Names the DNS events, ask it about connections.
package lookup

import (
	"net/netip"
	"strings"

	"clipper/bus"
)

// Limits on the memory of Names; the oldest go first.
const (
	MaxNames   = 10_000
	maxRecent  = 8 // look-ups of a name, names of an address
	maxSpan    = int64(5e9)
	maxPause   = int64(2e9)
	maxClaimed = 16
)

// Lookup is how the address of a connection was found.
type Lookup struct {
	Name     string // that was asked for
	Asked    int64  // the first question, Unix ns
	Answered int64  // the last answer before the connection was opened
	// Own says that the connection waited for it: it is the first one to the
	// address since the answer, and was opened at most 2 s after it.
	Own     bool
	Queries []*bus.DNS // that were answered by then, in the order of the answers
}

// Names remembers look-ups. The zero value is ready; it is not safe for
// concurrent use.
type Names struct {
	names map[string]*name // by lower-case name
	addrs map[netip.Addr][]*name
	order []*name
}

type name struct {
	key     string
	recent  []*bus.DNS // answered, newest last
	claimed []claim
}

// claim is a server whose connection waited for the answer at a time.
type claim struct {
	server   netip.AddrPort
	answered int64
}

// Add takes a DNS event.
func (n *Names) Add(d *bus.DNS) {
	if d == nil || d.Answered == 0 || d.Asked == 0 || d.Type != "A" && d.Type != "AAAA" {
		return
	}
	if n.names == nil {
		n.names, n.addrs = map[string]*name{}, map[netip.Addr][]*name{}
	}
	key := strings.ToLower(d.Name)
	e := n.names[key]
	if e == nil {
		if len(n.order) >= MaxNames {
			n.forget(n.order[0])
			n.order = n.order[1:]
		}
		e = &name{key: key}
		n.names[key] = e
		n.order = append(n.order, e)
	}
	if e.recent = append(e.recent, d); len(e.recent) > maxRecent {
		old := e.recent[0]
		e.recent = e.recent[1:]
		n.unlink(e, old)
	}
	for _, a := range d.Addresses {
		a = a.Unmap()
		list := without(n.addrs[a], e)
		if len(list) >= maxRecent {
			list = list[1:]
		}
		n.addrs[a] = append(list, e)
	}
}

func (n *Names) forget(e *name) {
	delete(n.names, e.key)
	old := e.recent
	e.recent = nil
	for _, d := range old {
		n.unlink(e, d)
	}
}

// unlink takes e off the addresses that only d gave.
func (n *Names) unlink(e *name, d *bus.DNS) {
	for _, a := range d.Addresses {
		a = a.Unmap()
		if e.has(a) {
			continue
		}
		if n.addrs[a] = without(n.addrs[a], e); len(n.addrs[a]) == 0 {
			delete(n.addrs, a)
		}
	}
}

func without(list []*name, e *name) []*name {
	out := make([]*name, 0, len(list)+1)
	for _, x := range list {
		if x != e {
			out = append(out, x)
		}
	}
	return out
}

func (e *name) has(a netip.Addr) bool {
	for _, d := range e.recent {
		for _, b := range d.Addresses {
			if b.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// Find is the look-up that gave the address of c's server, nil when none is
// known; of several names, that which c asks for by SNI. Ask once for each
// connection, in the order in which they were opened.
func (n *Names) Find(c *bus.Connection) *Lookup {
	addr := c.Server.Addr().Unmap()
	var best *name
	var bestAt int64
	for _, e := range n.addrs[addr] {
		d := e.answer(addr, c.Opened)
		if d == nil {
			continue
		}
		if c.TLS != nil && strings.EqualFold(c.TLS.SNI, e.key) {
			best, bestAt = e, d.Answered
			break
		}
		if best == nil || d.Answered >= bestAt {
			best, bestAt = e, d.Answered
		}
	}
	if best == nil {
		return nil
	}
	l := &Lookup{Name: best.key}
	for _, d := range best.recent { // the questions for both families belong together
		if d.Answered <= c.Opened && d.Answered >= bestAt-maxSpan && d.Asked <= bestAt {
			l.Queries = append(l.Queries, d)
			if l.Asked == 0 || d.Asked < l.Asked {
				l.Asked = d.Asked
			}
			l.Answered = max(l.Answered, d.Answered)
		}
	}
	l.Name = l.Queries[len(l.Queries)-1].Name
	l.Own = !c.Partial && c.Opened-l.Answered <= maxPause && best.claim(claim{c.Server, l.Answered})
	return l
}

// answer is the newest look-up before a time that gave the address.
func (e *name) answer(a netip.Addr, before int64) *bus.DNS {
	for i := len(e.recent) - 1; i >= 0; i-- {
		d := e.recent[i]
		if d.Answered > before {
			continue
		}
		for _, b := range d.Addresses {
			if b.Unmap() == a {
				return d
			}
		}
	}
	return nil
}

func (e *name) claim(c claim) bool {
	for _, x := range e.claimed {
		if x == c {
			return false
		}
	}
	if e.claimed = append(e.claimed, c); len(e.claimed) > maxClaimed {
		e.claimed = e.claimed[1:]
	}
	return true
}
