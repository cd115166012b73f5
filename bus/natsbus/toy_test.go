package natsbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"clipper/bus"
)

// toy is a decoder in small: byte-stateful per connection (a wrong history gives
// wrong bytes), waiting for secrets, with two main inputs, a side input and two
// outputs, and a state that can be stored. Connections on TCP need a secret,
// those on UDP do not.
type toy struct {
	conns map[bus.ConnID]*toyConn
	seeds map[bus.ConnID]uint32
	marks bus.LowMark
	eos   int
}

type toyConn struct {
	id      bus.ConnID
	mark    *bus.Mark
	open    bool // has its seed
	state   uint32
	waiting []bus.Record
}

func newToy() bus.Stage { return makeToy() }

func makeToy() *toy {
	return &toy{conns: map[bus.ConnID]*toyConn{}, seeds: map[bus.ConnID]uint32{}}
}

func (t *toy) Takes() []bus.Layer { return []bus.Layer{bus.Keys, bus.UDP, bus.TCP} }
func (t *toy) Gives() []bus.Layer { return []bus.Layer{bus.Plain, bus.Body} }
func (t *toy) Low() uint64        { return t.marks.Low() }

func (t *toy) Process(r *bus.Record, emit func(*bus.Record)) {
	switch {
	case r.Type == bus.EOS:
		if t.eos++; t.eos == len(t.Takes()) {
			emit(&bus.Record{Layer: bus.Plain, Type: bus.EOS})
			emit(&bus.Record{Layer: bus.Body, Type: bus.EOS})
		}
	case r.Layer == bus.Keys:
		s, err := bus.ParseSecret(r)
		if err != nil {
			return
		}
		id := bus.ConnID(binary.LittleEndian.Uint64(s.ClientRandom))
		t.seeds[id] = binary.LittleEndian.Uint32(s.Secret)
		if c := t.conns[id]; c != nil && !c.open {
			c.open, c.state = true, t.seeds[id]
			for i := range c.waiting {
				t.data(c, &c.waiting[i], emit)
			}
			c.waiting = nil
		}
	case r.Type == bus.Open:
		c := &toyConn{id: r.Conn, mark: t.marks.Add(r.Pos)}
		c.state, c.open = t.seeds[r.Conn]
		if r.Layer == bus.UDP {
			c.open = true
		}
		t.conns[r.Conn] = c
		emit(&bus.Record{Layer: bus.Plain, Type: bus.Open, Conn: r.Conn, Time: r.Time})
	default:
		c := t.conns[r.Conn]
		if c == nil {
			return
		}
		if !c.open {
			k := *r
			k.Payload = bytes.Clone(r.Payload)
			c.waiting = append(c.waiting, k)
			return
		}
		t.data(c, r, emit)
	}
}

// toyState is a toyConn in a snapshot.
type toyState struct {
	ID      bus.ConnID
	Open    bool
	State   uint32
	Waiting []bus.Record
}

func (t *toy) AppendSnapshot(b []byte) []byte {
	var states []toyState
	for _, c := range t.conns {
		states = append(states, toyState{c.id, c.open, c.state, c.waiting})
	}
	data, err := json.Marshal(states)
	if err != nil {
		panic(err)
	}
	return append(b, data...)
}

func (t *toy) Restore(b []byte, pos uint64) error {
	var states []toyState
	if err := json.Unmarshal(b, &states); err != nil {
		return err
	}
	for _, s := range states {
		t.conns[s.ID] = &toyConn{s.ID, t.marks.Add(pos), s.Open, s.State, s.Waiting}
	}
	return nil
}

func (t *toy) data(c *toyConn, r *bus.Record, emit func(*bus.Record)) {
	if r.Type == bus.End {
		t.marks.Remove(c.mark)
		delete(t.conns, c.id)
		emit(&bus.Record{Layer: bus.Plain, Type: bus.End, Conn: c.id, Offset: r.Offset})
		return
	}
	out := bytes.Clone(r.Payload)
	c.state = cipher(c.state, out)
	emit(&bus.Record{Layer: bus.Plain, Type: bus.Data, Conn: c.id, Offset: r.Offset, Payload: out})
	if r.Layer == bus.TCP && uint64(c.id)%3 == 0 {
		emit(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: c.id, Stream: 1, Offset: r.Offset, Payload: r.Payload})
		emit(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: c.id, Stream: 2, Offset: r.Offset, Payload: out})
	}
}

func cipher(s uint32, b []byte) uint32 {
	for i, c := range b {
		s = s*1664525 + uint32(c) + 1013904223
		b[i] = c ^ byte(s>>24)
	}
	return s
}

// content is the plain content of a connection.
func content(id bus.ConnID, off uint64, b []byte) {
	for i := range b {
		o := off + uint64(i)
		x := (uint64(id) ^ o>>3) * 0x9e3779b97f4a7c15
		b[i] = byte((x ^ x>>29) >> (o & 7 * 7))
	}
}

func toySeed(id bus.ConnID) uint32 { return uint32(id)*2654435761 + 1 }

func toyConnID(layer bus.Layer, n int) bus.ConnID { return bus.ConnID(uint64(layer)<<32 | uint64(n)) }

// traffic is what feed publishes.
type traffic struct {
	partition int
	conns     int // of each main layer
	size      int // bytes of a connection, at most
	seed      uint64
	pace      time.Duration // between the records, on the average
	noKeys    bool          // another feeds the secrets
	early     bool          // all secrets come first
}

func (tr traffic) sizeOf(id bus.ConnID) int { return 1 + int(uint64(id)*2654435761%uint64(tr.size)) }

// feed publishes connections on TCP and UDP and the secrets of the former,
// early, late, or very late.
func (tr traffic) feed(ctx context.Context, b *Bus) error {
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	if tr.early {
		if err := tr.feedKeys(ctx, b); err != nil {
			return err
		}
	}
	for _, l := range []bus.Layer{bus.TCP, bus.UDP} {
		wg.Go(func() { errs <- tr.feedLayer(ctx, b, l) })
	}
	wg.Go(func() {
		if tr.noKeys || tr.early {
			errs <- nil
			return
		}
		errs <- tr.feedKeys(ctx, b)
	})
	wg.Wait()
	for range 3 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (tr traffic) feedLayer(ctx context.Context, b *Bus, l bus.Layer) error {
	p, err := b.OpenPublisher(ctx, l, tr.partition)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(tr.seed, uint64(l)))
	type live struct {
		id        bus.ConnID
		off, size int
	}
	var open []*live
	next := 0
	var slept time.Duration
	start := time.Now()
	buf := make([]byte, 8000)
	for next < tr.conns || len(open) > 0 {
		if next < tr.conns && (len(open) == 0 || len(open) < 10 && rng.IntN(4) == 0) {
			id := toyConnID(l, next)
			next++
			open = append(open, &live{id: id, size: tr.sizeOf(id)})
			if err := p.Publish(ctx, &bus.Record{Layer: l, Type: bus.Open, Conn: id}); err != nil {
				return err
			}
		}
		i := rng.IntN(len(open))
		c := open[i]
		d := buf[:min(1+rng.IntN(len(buf)), c.size-c.off)]
		content(c.id, uint64(c.off), d)
		if err := p.Publish(ctx, &bus.Record{Layer: l, Type: bus.Data, Conn: c.id, Offset: uint64(c.off), Payload: d}); err != nil {
			return err
		}
		if c.off += len(d); c.off == c.size {
			if err := p.Publish(ctx, &bus.Record{Layer: l, Type: bus.End, Conn: c.id, Offset: uint64(c.off)}); err != nil {
				return err
			}
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
		if slept += tr.pace; slept-time.Since(start) > 2*time.Millisecond {
			time.Sleep(slept - time.Since(start))
		}
	}
	if err := p.Publish(ctx, &bus.Record{Layer: l, Type: bus.EOS}); err != nil {
		return err
	}
	return p.Close(ctx)
}

func (tr traffic) feedKeys(ctx context.Context, b *Bus) error {
	p, err := b.OpenPublisher(ctx, bus.Keys, 0)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(tr.seed, 9))
	order := rng.Perm(tr.conns)
	for i := range order { // roughly in the order of the connections, some far off
		if rng.IntN(3) > 0 {
			j := min(i+rng.IntN(3), tr.conns-1)
			order[i], order[j] = order[j], order[i]
		}
	}
	for _, n := range order {
		id := toyConnID(bus.TCP, n)
		random := binary.LittleEndian.AppendUint64(nil, uint64(id))
		secret := binary.LittleEndian.AppendUint32(nil, toySeed(id))
		if err := p.Publish(ctx, bus.SecretRecord(&bus.TLSSecret{Label: "TOY", ClientRandom: random, Secret: secret}, 1)); err != nil {
			return err
		}
		if tr.pace > 0 && !tr.early {
			time.Sleep(time.Duration(rng.Int64N(1 + int64(tr.pace)*int64(tr.size)/4000)))
		}
	}
	if err := p.Publish(ctx, &bus.Record{Layer: bus.Keys, Type: bus.EOS}); err != nil {
		return err
	}
	return p.Close(ctx)
}

// check follows both outputs of the toy to their end and checks every byte:
// nothing lost, nothing twice, nothing wrong.
func (tr traffic) check(ctx context.Context, b *Bus, slow time.Duration) error {
	errs := make(chan error, 2)
	go func() { errs <- tr.checkPlain(ctx, b, slow) }()
	go func() { errs <- tr.checkBody(ctx, b, slow) }()
	for range 2 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

type seen struct {
	next  uint64
	state uint32
	ended bool
}

func (tr traffic) checkPlain(ctx context.Context, b *Bus, slow time.Duration) error {
	conns := map[bus.ConnID]*seen{}
	err := b.Follow(ctx, bus.Plain, tr.partition, 1, func(m *Batch) error {
		time.Sleep(slow)
		if m.Missed > 0 {
			return fmt.Errorf("seq %d: %d batches were trimmed unread", m.Seq, m.Missed)
		}
		for r := range m.Records() {
			c := conns[r.Conn]
			switch r.Type {
			case bus.EOS:
			case bus.Open:
				if c != nil {
					return fmt.Errorf("seq %d: %v opened twice", m.Seq, r.Conn)
				}
				c = &seen{}
				if uint64(r.Conn)>>32 == uint64(bus.TCP) {
					c.state = toySeed(r.Conn)
				}
				conns[r.Conn] = c
			case bus.Data:
				if c == nil || c.ended || r.Offset != c.next {
					return fmt.Errorf("seq %d: data of %v at %d, want %+v", m.Seq, r.Conn, r.Offset, c)
				}
				want := make([]byte, len(r.Payload))
				content(r.Conn, r.Offset, want)
				c.state = cipher(c.state, want)
				if !bytes.Equal(want, r.Payload) {
					return fmt.Errorf("seq %d: wrong bytes of %v at %d", m.Seq, r.Conn, r.Offset)
				}
				c.next += uint64(len(want))
			case bus.End:
				if c == nil || c.ended || c.next != uint64(tr.sizeOf(r.Conn)) {
					return fmt.Errorf("seq %d: end of %v, want %+v", m.Seq, r.Conn, c)
				}
				c.ended = true
			}
		}
		return m.Err
	})
	if err != nil {
		return err
	}
	if len(conns) != 2*tr.conns {
		return fmt.Errorf("%d connections of %d", len(conns), 2*tr.conns)
	}
	for id, c := range conns {
		if !c.ended {
			return fmt.Errorf("%v did not end: %+v", id, c)
		}
	}
	return nil
}

func (tr traffic) checkBody(ctx context.Context, b *Bus, slow time.Duration) error {
	type key struct {
		id     bus.ConnID
		stream uint64
	}
	next, state := map[key]uint64{}, map[bus.ConnID]uint32{}
	err := b.Follow(ctx, bus.Body, tr.partition, 1, func(m *Batch) error {
		time.Sleep(slow)
		if m.Missed > 0 {
			return fmt.Errorf("seq %d: %d batches were trimmed unread", m.Seq, m.Missed)
		}
		for r := range m.Records() {
			if r.Type == bus.EOS {
				continue
			}
			k := key{r.Conn, r.Stream}
			if r.Offset != next[k] {
				return fmt.Errorf("seq %d: body of %v at %d, want %d", m.Seq, k, r.Offset, next[k])
			}
			next[k] += uint64(len(r.Payload))
			want := make([]byte, len(r.Payload))
			content(r.Conn, r.Offset, want)
			if r.Stream == 2 {
				s, ok := state[r.Conn]
				if !ok {
					s = toySeed(r.Conn)
				}
				state[r.Conn] = cipher(s, want)
			}
			if !bytes.Equal(want, r.Payload) {
				return fmt.Errorf("seq %d: wrong body bytes of %v at %d", m.Seq, k, r.Offset)
			}
		}
		return m.Err
	})
	if err != nil {
		return err
	}
	for n := range tr.conns {
		id := toyConnID(bus.TCP, n)
		if uint64(id)%3 != 0 {
			continue
		}
		for s := range uint64(2) {
			if got := next[key{id, s + 1}]; got != uint64(tr.sizeOf(id)) {
				return fmt.Errorf("body %v/%d has %d bytes of %d", id, s+1, got, tr.sizeOf(id))
			}
		}
	}
	return nil
}

// connect is a connection for the length of the test.
func connect(t testing.TB, a Access, name string) *Bus {
	t.Helper()
	b, err := Connect(t.Context(), a, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
