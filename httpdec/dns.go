package httpdec

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"clipper/bus"
)

// Limits of DNS.
const (
	maxQuestions = 64 // of a flow that wait for an answer; names whose fate is remembered
	maxAddresses = 64 // of one answer
	dnsPort      = 53
)

// dnsHead is the length of the header of a message (RFC 1035, section 4.1.1).
const dnsHead = 12

// dns follows the questions of one flow, whatever carries its messages.
type dns struct {
	c         *conn
	transport string
	open      []*bus.DNS // unanswered, oldest first
	ids       []uint16   // of open
	names     []lookedUp // newest last
}

// lookedUp is what a flow told of a name. The questions for it are A and AAAA.
type lookedUp struct {
	name    string
	pending int    // questions without an answer
	v4, v6  bool   // was asked for
	found   bool   // an address came
	failure string // the first one
	told    bool
}

func newDNS(c *conn, transport string) *dns { return &dns{c: c, transport: transport} }

// question is the first one of a message; there are no others in practice.
func question(b []byte) (p dnsmessage.Parser, h dnsmessage.Header, q dnsmessage.Question, ok bool) {
	h, err := p.Start(b)
	if err != nil {
		return p, h, q, false
	}
	if q, err = p.Question(); err != nil {
		return p, h, q, false
	}
	return p, h, q, p.SkipAllQuestions() == nil
}

// message takes a whole message.
func (d *dns) message(b []byte, t int64) {
	p, h, q, ok := question(b)
	if !ok {
		return
	}
	if h.Response {
		d.answer(&p, h, q, t)
	} else {
		d.ask(h, q, t)
	}
}

func typeName(t dnsmessage.Type) string {
	s := strings.TrimPrefix(t.String(), "Type")
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		return "TYPE" + s // RFC 3597, section 5
	}
	return s
}

func (d *dns) ask(h dnsmessage.Header, q dnsmessage.Question, t int64) {
	name, kind := displayName(q.Name), typeName(q.Type)
	if i := d.find(h.ID, name, kind); i >= 0 {
		d.open[i].Queries++
		d.askAgain(d.open[i], t)
		return
	}
	if len(d.open) >= maxQuestions {
		d.giveUp(0, bus.Failure{Code: "limit", Reason: "more than 64 questions wait for an answer"}, t)
	}
	d.open = append(d.open, &bus.DNS{Name: name, Type: kind, Transport: d.transport, Server: d.c.facts.Server, Asked: t, Queries: 1})
	d.ids = append(d.ids, h.ID)
	if n := d.lookedUp(name, kind); n != nil {
		n.pending++
		n.v4, n.v6 = n.v4 || kind == "A", n.v6 || kind == "AAAA"
	}
}

// dnsPatience is how long a name server may take: one that is asked again after
// that does not answer.
const dnsPatience = int64(1e9)

// askAgain tells who looks on why the program waits.
func (d *dns) askAgain(e *bus.DNS, t int64) {
	if n := d.lookedUp(e.Name, e.Type); n != nil && !n.found && !n.told && t-e.Asked >= dnsPatience {
		d.c.emitVerdict(bus.Verdict{Code: bus.VerdictDNS, Name: e.Name, Preliminary: true,
			Reason: fmt.Sprintf("%s: the name server does not answer and is asked again (%s)", e.Name, e.Server)}, t)
	}
}

func displayName(n dnsmessage.Name) string {
	s := text(n.Data[:n.Length])
	if s == "." {
		return s
	}
	return strings.TrimSuffix(s, ".")
}

func (d *dns) find(id uint16, name, kind string) int {
	for i, q := range d.open {
		if d.ids[i] == id && q.Type == kind && strings.EqualFold(q.Name, name) {
			return i
		}
	}
	return -1
}

// lookedUp is nil for questions that are not for addresses.
func (d *dns) lookedUp(name, kind string) *lookedUp {
	if kind != "A" && kind != "AAAA" {
		return nil
	}
	for i := range d.names {
		if strings.EqualFold(d.names[i].name, name) {
			return &d.names[i]
		}
	}
	if len(d.names) >= maxQuestions {
		d.names = slices.Delete(d.names, 0, 1)
	}
	d.names = append(d.names, lookedUp{name: name})
	return &d.names[len(d.names)-1]
}

// take removes a question from those that wait.
func (d *dns) take(i int) *bus.DNS {
	q := d.open[i]
	d.open, d.ids = slices.Delete(d.open, i, i+1), slices.Delete(d.ids, i, i+1)
	return q
}

func (d *dns) answer(p *dnsmessage.Parser, h dnsmessage.Header, q dnsmessage.Question, t int64) {
	name, kind := displayName(q.Name), typeName(q.Type)
	var e *bus.DNS
	if i := d.find(h.ID, name, kind); i >= 0 {
		e = d.take(i)
	} else if d.c.facts.Partial {
		e = &bus.DNS{Name: name, Type: kind, Transport: d.transport, Server: d.c.facts.Server}
	} else {
		return // once more, or to another question
	}
	e.Answered = t
	readAnswer(e, p, h)
	d.emit(e, t)
}

// readAnswer takes what an answer says.
func readAnswer(e *bus.DNS, p *dnsmessage.Parser, h dnsmessage.Header) {
	e.Status = rcodeName(h.RCode)
	for len(e.Addresses)+len(e.Aliases) < maxAddresses {
		r, err := p.AnswerHeader()
		if err != nil {
			break
		}
		var a netip.Addr
		switch r.Type {
		case dnsmessage.TypeA:
			var v dnsmessage.AResource
			v, err = p.AResource()
			a = netip.AddrFrom4(v.A)
		case dnsmessage.TypeAAAA:
			var v dnsmessage.AAAAResource
			v, err = p.AAAAResource()
			a = netip.AddrFrom16(v.AAAA)
		case dnsmessage.TypeCNAME:
			var v dnsmessage.CNAMEResource
			if v, err = p.CNAMEResource(); err == nil {
				e.Aliases = append(e.Aliases, displayName(v.CNAME))
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			break
		}
		if a.IsValid() {
			if e.TTL == 0 || r.TTL < e.TTL {
				e.TTL = r.TTL
			}
			e.Addresses = append(e.Addresses, a)
		}
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		e.Failure = &bus.Failure{Code: "dns-" + strings.ToLower(e.Status), Reason: refusal(e)}
	}
}

// refusal is why a name server gave no answer.
func refusal(e *bus.DNS) string {
	what := map[string]string{"NXDOMAIN": "there is no such name", "SERVFAIL": "the name server failed to look it up", "REFUSED": "the name server refused to look it up"}[e.Status]
	if what == "" {
		what = "the name server answered with an error"
	}
	return fmt.Sprintf("%s: %s (%s from %s)", e.Name, what, e.Status, e.Server)
}

func rcodeName(r dnsmessage.RCode) string {
	names := [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("RCODE%d", r)
}

// giveUp ends a question without an answer.
func (d *dns) giveUp(i int, f bus.Failure, t int64) {
	e := d.take(i)
	e.Failure = &bus.Failure{Code: f.Code, Reason: fmt.Sprintf("%s: %s (asked %s)", e.Name, f.Reason, e.Server)}
	d.emit(e, t)
}

// emit tells what became of a question. When that was the last one of a name that
// has got no address, a verdict says so: the program can't connect.
func (d *dns) emit(e *bus.DNS, t int64) {
	c := d.c
	c.event(&bus.Event{Type: bus.EventDNS, Time: t, DNS: e})
	n := d.lookedUp(e.Name, e.Type)
	if n == nil {
		return
	}
	n.pending--
	n.found = n.found || len(e.Addresses) > 0
	if e.Failure != nil && n.failure == "" && e.Failure.Code != "capture-end" {
		n.failure = e.Failure.Reason
	}
	if n.pending > 0 || n.found || n.told {
		return
	}
	why := n.failure
	if why == "" && e.Failure == nil && n.v4 && n.v6 {
		why = fmt.Sprintf("%s: the name has no address (says %s)", e.Name, e.Server)
	}
	if why != "" {
		n.told = true
		c.emitVerdict(bus.Verdict{Code: bus.VerdictDNS, Name: n.name, Reason: why}, t)
	}
}

// end gives up what waits.
func (d *dns) end(f bus.Failure, t int64) {
	for len(d.open) > 0 {
		why := f
		if q := d.open[0]; f.Code == "capture-end" && (q.Queries > 1 || t-q.Asked >= dnsPatience) {
			why = noAnswer
		}
		d.giveUp(0, why, t)
	}
}

// dnsAnswer takes the answer in a response of DNS over HTTPS (RFC 8484), which
// repeats the question.
func (b *body) dnsAnswer(m []byte, t int64) {
	p, h, q, ok := question(m)
	if !ok || !h.Response {
		return
	}
	e := &bus.DNS{Name: displayName(q.Name), Type: typeName(q.Type), Transport: "https", Server: b.c.facts.Server,
		Asked: b.began, Answered: t, Queries: 1}
	readAnswer(e, &p, h)
	b.c.event(&bus.Event{Type: bus.EventDNS, Time: t, Stream: b.stream, DNS: e})
}

// looksLikeQuery reports whether b begins with the header of a query with one
// question and nothing else but an OPT record (RFC 6891); undecided while b is
// shorter than that.
func looksLikeQuery(b []byte) (yes, undecided bool) {
	shape := []func(byte) bool{2: func(c byte) bool { return c&^1 == 0 }, 3: func(c byte) bool { return c&^0x30 == 0 },
		4: zero, 5: func(c byte) bool { return c == 1 }, 6: zero, 7: zero, 8: zero, 9: zero, 10: zero, 11: func(c byte) bool { return c <= 1 }}
	for i, c := range b[:min(len(b), dnsHead)] {
		if shape[i] != nil && !shape[i](c) {
			return false, false
		}
	}
	return len(b) >= dnsHead, len(b) < dnsHead
}

func zero(c byte) bool { return c == 0 }

// datagram takes a datagram of a UDP flow: only DNS is followed.
func (c *conn) datagram(b []byte, t int64) {
	if c.datagrams == nil {
		if c.notDNS {
			return
		}
		server := c.facts.Server
		_, _, q, ok := question(b)
		yes, _ := looksLikeQuery(b)
		if !ok || server.Addr().IsMulticast() || server.Port() != dnsPort && c.facts.Client.Port() != dnsPort &&
			!(yes && q.Class == dnsmessage.ClassINET) {
			c.notDNS = true
			return
		}
		c.datagrams = newDNS(c, "udp")
	}
	c.datagrams.message(b, t)
}

// dnsStream is DNS over TCP (RFC 1035, section 4.2.2) or TLS (RFC 7858): messages
// behind their length.
type dnsStream struct {
	*dns
	sides [2][]byte // a message so far
	lost  [2]bool
}

func newDNSStream(c *conn) *dnsStream {
	d := &dnsStream{dns: newDNS(c, "tcp")}
	if c.facts.TLS != nil {
		d.transport = "tls"
	}
	c.setProtocol("dns")
	c.announce(c.time)
	return d
}

func (d *dnsStream) data(dir bus.Dir, p []byte, t int64, force bool) (n int) {
	for n < len(p) {
		if d.lost[dir] {
			return len(p)
		}
		b := &d.sides[dir]
		if dir == bus.ServerToClient && len(*b) == 0 && len(d.open) == 0 && !force && !d.c.facts.Partial {
			return n // it answers a question that comes with the next bytes
		}
		want := 2
		if len(*b) >= 2 {
			want += int(binary.BigEndian.Uint16(*b))
		}
		k := min(want-len(*b), len(p)-n)
		*b = append(*b, p[n:n+k]...)
		n += k
		if len(*b) < want || want == 2 && binary.BigEndian.Uint16(*b) > 0 {
			continue
		}
		d.message((*b)[2:], t)
		if *b = (*b)[:0]; cap(*b) > 4096 {
			*b = nil
		}
		if d.c.waits(dir) {
			break
		}
	}
	return n
}

func (d *dnsStream) gap(dir bus.Dir, _ uint64, _ int64) { d.lost[dir], d.sides[dir] = true, nil }

func (d *dnsStream) fin(dir bus.Dir, t int64) {
	if dir == bus.ServerToClient {
		d.end(bus.Failure{Code: "dns-closed", Reason: "the name server closed the connection without an answer"}, t)
	}
}

func (d *dnsStream) abort(f bus.Failure, t int64) {
	d.end(bus.Failure{Code: f.Code, Reason: f.Reason}, t)
}
