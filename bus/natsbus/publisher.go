package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrTooLarge is a record that no batch can hold. It leaves a Publisher usable.
var ErrTooLarge = errors.New("natsbus: record larger than a batch")

// idleFlush is how long a record waits for others at most.
const idleFlush = 2 * time.Millisecond

// Publisher is the one writer of one partition of a primary layer: Frames, Keys, Proc.
// It gathers records into batches and sends a batch when it has 128 KiB, 2 ms
// after its first record, and on Send and Flush. Its methods may be called from
// several goroutines; the order of the calls is the order of the records.
type Publisher struct {
	last   *bus.Record
	sender *sender

	mu    sync.Mutex
	batch *batcher
	timer *time.Timer
}

// OpenPublisher takes a stream over: a writer that had it before is fenced out.
func (b *Bus) OpenPublisher(ctx context.Context, l bus.Layer, partition int) (*Publisher, error) {
	producer := newProducer()
	s, claim, err := b.claim(ctx, l, partition, producer)
	if err != nil {
		return nil, err
	}
	p := &Publisher{sender: s, batch: newBatcher(l, producer)}
	last, err := lastBatch(ctx, s.link, s.stream, l, claim, true)
	if err != nil {
		s.close()
		return nil, err
	}
	if last != nil {
		p.batch.batch = last.Batch
		for r := range last.Records() {
			c := *r
			p.last = &c
		}
	}
	p.timer = time.AfterFunc(time.Hour, p.idle)
	p.timer.Stop()
	return p, nil
}

// lastBatch is the last batch of a stream before the sequence seq that is no
// claim and, if full, has records; nil if there is none.
func lastBatch(ctx context.Context, link *link, stream string, l bus.Layer, seq uint64, full bool) (*Batch, error) {
	for seq--; seq > 0; seq-- {
		c, cancel := context.WithTimeout(ctx, ackTimeout)
		m, err := getMsg(c, link.js, stream, seq)
		cancel()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("natsbus: last batch of %s: %w", stream, link.explain(err))
		}
		b := parseBatch(l, m.Data)
		if b.Err != nil {
			return nil, fmt.Errorf("natsbus: last batch of %s: %w", stream, b.Err)
		}
		if b.Batch > 0 && (b.Count > 0 || !full) {
			b.Seq = seq
			return b, nil
		}
	}
	return nil, nil
}

// Last is the last record that the stream held when it was opened, nil if
// there was none: where a restarted source goes on. Its Type is EOS when the
// stream is complete.
func (p *Publisher) Last() *bus.Record { return p.last }

// Publish adds a record. It copies what it needs, and blocks while too much is
// unacknowledged or the stream is full: that is the backpressure. A record
// larger than a batch is split if its bytes have offsets (Data, BodyBytes),
// else it is ErrTooLarge.
func (p *Publisher) Publish(ctx context.Context, r *bus.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.batch.parts(r) {
		part := p.batch.part(r, i)
		for {
			if err := p.sender.failed(); err != nil {
				return err
			}
			ok, err := p.batch.add(part)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			if err := p.send(ctx); err != nil {
				return err
			}
		}
		if p.batch.count == 1 {
			p.timer.Reset(idleFlush)
		}
		if p.batch.ready() {
			if err := p.send(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// send is called with the lock held. If it fails for ctx the batch stays.
func (p *Publisher) send(ctx context.Context) error {
	if p.batch.count == 0 {
		return p.sender.failed()
	}
	if err := p.sender.reserve(ctx, len(p.batch.buf)); err != nil {
		return err
	}
	p.timer.Stop()
	return p.sender.publish(p.batch.finish(bus.Progress{}))
}

func (p *Publisher) idle() {
	if !p.mu.TryLock() { // who holds it sends or fails
		p.timer.Reset(idleFlush)
		return
	}
	defer p.mu.Unlock()
	if p.batch.count == 0 || p.sender.failed() != nil { // the next call returns the error
		return
	}
	if !p.sender.hasRoom(len(p.batch.buf)) {
		p.timer.Reset(idleFlush)
		return
	}
	_ = p.send(context.Background())
}

// Send sends what was added, without waiting for the server.
func (p *Publisher) Send(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.send(ctx)
}

// Flush sends what was added and waits until it is stored.
func (p *Publisher) Flush(ctx context.Context) error {
	if err := p.Send(ctx); err != nil {
		return err
	}
	return p.sender.flush(ctx)
}

// Close flushes and gives the stream up. It does not publish EOS.
func (p *Publisher) Close(ctx context.Context) error {
	err := p.Flush(ctx)
	p.timer.Stop()
	p.sender.close()
	return err
}
