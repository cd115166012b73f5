package tlsdec

import "clipper/bus"

// Limits bound what a decoder remembers. The zero value of a field means its default.
type Limits struct {
	Secrets    int // client randoms whose secrets are kept; default 65536
	Connection int // bytes that one connection may hold back while it waits for a secret; default 32 MiB
	Total      int // bytes that all may hold back; default 64 MiB
	Incomplete int // bytes of incomplete records and messages, and of certificates, of all; default 128 MiB
}

// connectionCost is what a waiting connection counts for beside its bytes, so
// that Limits.Total bounds the number of waiting connections, too.
const connectionCost = 4 << 10

func (l Limits) orDefault() Limits {
	if l.Secrets <= 0 {
		l.Secrets = 1 << 16
	}
	if l.Connection <= 0 {
		l.Connection = 32 << 20
	}
	if l.Total <= 0 {
		l.Total = 64 << 20
	}
	if l.Incomplete <= 0 {
		l.Incomplete = 128 << 20
	}
	return l
}

// New makes a decoder with the default limits. It takes the layers TCP, UDP and
// Keys and gives Plain.
func New() bus.Stage { return NewWithLimits(Limits{}) }

// NewWithLimits makes a decoder with limits of its own.
func NewWithLimits(l Limits) bus.Stage {
	l = l.orDefault()
	d := &decoder{
		limits:  l,
		secrets: newSecrets(l.Secrets),
		conns:   map[bus.ConnID]*conn{},
		waiting: newWaitingRoom(),
		ended:   map[bus.Layer]bool{},
	}
	for i := range d.work {
		d.work[i].scratch = make([]byte, 0, recordHeaderLen+maxFragment)
	}
	return d
}

// work is memory that is used during a record, for each depth of TLS in TLS.
type work struct {
	in, out  bus.Record // the record being worked on, the one being given
	scratch  []byte     // plaintext of the record being worked on
	inflater inflater
}

// decoder is the Stage.
type decoder struct {
	limits  Limits
	secrets *secrets
	conns   map[bus.ConnID]*conn
	order   connList // of conns, as they were opened
	waiting *waitingRoom
	held    int // bytes held back by all connections
	partly  int // bytes that count for Limits.Incomplete
	ended   map[bus.Layer]bool
	low     bus.LowMark
	opened  uint64 // connections so far

	message uint64  // of TCP, whose records are being processed
	rereads bool    // the driver can read records again
	wanting []*conn // some, by the secret that has just come

	emit    func(*bus.Record) // valid during Process
	buffers [][]byte          // free buffers for partial records
	lent    int               // how many are in use
	work    [maxDepth]work
	quic    struct{ packet, frames []byte } // of the packet being worked on
}

func (d *decoder) Takes() []bus.Layer { return []bus.Layer{bus.TCP, bus.UDP, bus.Keys} }
func (d *decoder) Gives() []bus.Layer { return []bus.Layer{bus.Plain} }

func (d *decoder) Low() uint64 { return d.low.Low() }

// Process implements bus.Stage.
func (d *decoder) Process(r *bus.Record, emit func(*bus.Record)) {
	d.emit = emit
	switch {
	case r.Type == bus.EOS:
		d.endOfLayer(r)
	case r.Layer == bus.Keys:
		d.secret(r)
	case r.Layer == bus.TCP || r.Layer == bus.UDP:
		d.record(r)
	}
	d.enforceLimits()
	d.emit = nil
}

func (d *decoder) record(r *bus.Record) {
	c := d.conns[r.Conn]
	if c == nil {
		// Without its Open a connection had ended before the point of replay.
		if r.Type == bus.Open {
			d.open(r)
		}
		return
	}
	if c.udp {
		c.datagram(r)
	} else {
		c.place = c.place.next(d.message)
		c.process(r)
	}
	if c.holds() > d.limits.Connection {
		c.giveUp()
	}
	if d.conns[r.Conn] == c {
		d.weigh(c)
	}
}

func (d *decoder) open(r *bus.Record) {
	c := newConn(d, r)
	c.place = c.place.next(d.message)
	d.opened++
	c.number, c.mark = d.opened, d.low.Add(r.Pos)
	d.conns[r.Conn] = c
	d.order.push(c)
	c.forward(r)
}

// remove forgets a connection after its End.
func (d *decoder) remove(c *conn) {
	c.release()
	d.partly -= c.partly
	c.partly = 0
	if c.inner != nil && !c.inner.over {
		d.succeed(c)
		return
	}
	if d.conns[c.id] == c {
		d.low.Remove(c.mark)
		d.order.remove(c)
		delete(d.conns, c.id)
	}
}

func (d *decoder) secret(r *bus.Record) {
	if r.Type != bus.Secret || d.ended[bus.Keys] {
		return
	}
	t, err := bus.ParseSecret(r)
	if err != nil {
		return // hostile or of a later version; the connection gets its verdict
	}
	e := d.secrets.add(t)
	if e == nil {
		return
	}
	for _, c := range d.waiting.interested(e.key) {
		c.retry(e)
		if o := d.conns[c.id]; o != nil {
			d.weigh(o)
		}
	}
}

// enforceLimits gives up the oldest connections that hold something back. To look
// for them costs time, so it makes room for more than what came.
func (d *decoder) enforceLimits() {
	if d.partly > d.limits.Incomplete {
		d.shed()
	}
	if d.held <= d.limits.Total {
		return
	}
	if d.rereads {
		d.forEach(func(c *conn) bool {
			c.shrink()
			return d.held > d.limits.Total/2
		})
		if d.held <= d.limits.Total {
			return
		}
	}
	enough := d.limits.Total - d.limits.Total/8
	d.forEach(func(c *conn) bool {
		if c.holds() > 0 {
			c.giveUp()
		}
		return d.held > enough
	})
}

// forEach calls do, which may end its connection, in the order of opening
// until it returns false.
func (d *decoder) forEach(do func(*conn) bool) {
	for c := d.order.first; c != nil; {
		next := c.next
		if !do(c) {
			return
		}
		c = next
	}
}

// endOfLayer notes the end of one input. Without Keys nothing is left to wait
// for; without all of them nothing is left to do.
func (d *decoder) endOfLayer(r *bus.Record) {
	if d.ended[r.Layer] {
		return
	}
	d.ended[r.Layer] = true
	if r.Layer == bus.Keys {
		d.forEach(func(c *conn) bool {
			c.endOfSecrets()
			return true
		})
	}
	if !d.ended[bus.Keys] || !d.ended[bus.TCP] || !d.ended[bus.UDP] {
		return
	}
	d.forEach(func(c *conn) bool {
		c.abandon(r.Time)
		return true
	})
	d.emit(&bus.Record{Layer: bus.Plain, Type: bus.EOS, Time: r.Time})
}

// maxLent bounds the buffers for partial records that hold any. Beyond it they
// grow with what comes: who begins many records pays for them in bytes.
const maxLent = 1 << 10

// buffer returns an empty buffer for a partial record.
func (d *decoder) buffer() []byte {
	if d.lent >= maxLent {
		return []byte{}
	}
	d.lent++
	if n := len(d.buffers); n > 0 {
		b := d.buffers[n-1]
		d.buffers = d.buffers[:n-1]
		return b
	}
	return make([]byte, 0, recordHeaderLen+maxFragment)
}

func (d *decoder) recycle(b []byte) {
	const keep = 64
	if cap(b) < recordHeaderLen+maxFragment {
		return
	}
	d.lent = max(d.lent-1, 0)
	if len(d.buffers) < keep {
		d.buffers = append(d.buffers, b[:0])
	}
}
