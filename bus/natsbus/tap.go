package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tapPoll is how often a tap looks for what its subscription may have missed:
// a subscription promises nothing.
const tapPoll = 250 * time.Millisecond

// tapReader reads a stream message by message, which is all that a tap may do.
type tapReader struct {
	link      *link
	layer     bus.Layer
	partition int
	stream    string
	next      uint64
	ahead     *nats.Msg // the message at next, if it is known
	news      chan *nats.Msg
	sub       *nats.Subscription
}

func (b *Bus) openTapReader(ctx context.Context, l bus.Layer, partition int, from uint64) (*tapReader, error) {
	link, err := b.link(l)
	if err != nil {
		return nil, err
	}
	r := &tapReader{link: link, layer: l, partition: partition, stream: bus.StreamName(b.access.Session, l, partition),
		next: max(from, 1), news: make(chan *nats.Msg, 1)}
	r.sub, err = link.nc.Subscribe(bus.Subject(b.access.Session, l, partition), func(m *nats.Msg) {
		select {
		case r.news <- nil: // that there is something is enough
		default:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("natsbus: tap %s: %w", r.stream, err)
	}
	err = awaitStream(ctx, func() (err error) {
		r.ahead, err = r.get(ctx)
		return err
	})
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *tapReader) read(ctx context.Context) (*Batch, error) {
	for r.ahead == nil {
		var err error
		if r.ahead, err = r.more(ctx); err != nil {
			return nil, err
		}
		if r.ahead != nil {
			break
		}
		t := time.NewTimer(tapPoll)
		select {
		case <-r.news:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	m := r.ahead
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("natsbus: tap %s: the server gave no sequence", r.stream)
	}
	r.next = seq + 1
	if r.ahead, err = r.more(ctx); err != nil {
		return nil, err
	}
	b := parseBatch(r.layer, m.Data)
	b.Partition, b.Seq, b.Drained = r.partition, seq, r.ahead == nil
	return b, nil
}

// more is get of a stream that was there: a server stops answering for it before
// it hangs up, and one that others run goes on without the session.
func (r *tapReader) more(ctx context.Context) (*nats.Msg, error) {
	m, err := r.get(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, ErrGone
	}
	return m, err
}

// get is the first message from next on, nil if there is none.
func (r *tapReader) get(ctx context.Context) (*nats.Msg, error) {
	req, err := json.Marshal(map[string]any{"seq": r.next, "next_by_subj": ">"})
	if err != nil {
		return nil, err
	}
	for {
		c, cancel := context.WithTimeout(ctx, ackTimeout)
		m, err := r.link.nc.RequestWithContext(c, "$JS.API.DIRECT.GET."+r.stream, req)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, nats.ErrNoResponders):
			return nil, fmt.Errorf("natsbus: tap %s: %w", r.stream, jetstream.ErrStreamNotFound)
		case err != nil: // the connection comes back
			if err := sleep(ctx, tapPoll); err != nil {
				return nil, err
			}
			continue
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			return m, nil
		case "404":
			return nil, nil
		default:
			return nil, fmt.Errorf("natsbus: tap %s: %s %s", r.stream, status, m.Header.Get("Description"))
		}
	}
}

func (r *tapReader) close() { r.sub.Unsubscribe() }
