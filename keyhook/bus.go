package keyhook

import (
	"bytes"
	"context"
	"errors"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
)

// busPublisher publishes on the session's bus.
type busPublisher struct {
	ctx  context.Context
	bus  *natsbus.Bus
	keys *natsbus.Publisher
	proc *natsbus.Publisher
}

// connect reaches the bus by natsbus.AccessEnv and takes both streams over.
func connect(ctx context.Context) (*busPublisher, error) {
	a, err := natsbus.AccessFromEnv()
	if err != nil {
		return nil, err
	}
	b, err := natsbus.Connect(ctx, a, "keyhook")
	if err != nil {
		return nil, err
	}
	// What is drained after the end of ctx has still to be published.
	p := &busPublisher{ctx: context.WithoutCancel(ctx), bus: b}
	if p.keys, err = b.OpenPublisher(ctx, bus.Keys, 0); err == nil {
		p.proc, err = b.OpenPublisher(ctx, bus.Proc, bus.ProcKeyhook)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return p, nil
}

// readLimit bounds the reading of what is stored.
const readLimit = 10 * time.Second

// stored lists the secrets that predecessors have published. One of them may
// have been killed before it could note that.
func (p *busPublisher) stored(each func(*bus.TLSSecret)) error {
	last := p.keys.Last()
	if last == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, readLimit)
	defer cancel()
	return p.bus.Follow(ctx, bus.Keys, 0, 0, func(b *natsbus.Batch) error {
		for r := range b.Records() {
			if s, err := bus.ParseSecret(r); r.Type == bus.Secret && err == nil {
				each(s)
			}
			if r.Type == last.Type && r.Time == last.Time && bytes.Equal(r.Payload, last.Payload) {
				return natsbus.ErrStop
			}
		}
		return nil
	})
}

func (p *busPublisher) Secret(s *bus.TLSSecret, time int64) error {
	return p.keys.Publish(p.ctx, bus.SecretRecord(s, time))
}

func (p *busPublisher) Event(e *bus.ProcEvent) error {
	return p.proc.Publish(p.ctx, &bus.Record{Layer: bus.Proc, Type: bus.Line, Time: e.Time, Event: e})
}

func (p *busPublisher) Flush() error {
	return errors.Join(p.keys.Flush(p.ctx), p.proc.Flush(p.ctx))
}

func (p *busPublisher) End() error {
	eos := func(to *natsbus.Publisher, l bus.Layer) error {
		if complete(to) { // by a predecessor
			return nil
		}
		return to.Publish(p.ctx, &bus.Record{Layer: l, Type: bus.EOS, Time: time.Now().UnixNano()})
	}
	return errors.Join(eos(p.keys, bus.Keys), eos(p.proc, bus.Proc), p.Flush())
}

func complete(p *natsbus.Publisher) bool { return p.Last() != nil && p.Last().Type == bus.EOS }

func (p *busPublisher) close() {
	p.keys.Close(p.ctx)
	p.proc.Close(p.ctx)
	p.bus.Close()
}
