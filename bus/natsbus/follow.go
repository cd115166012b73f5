package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// ErrStop, returned by the function given to Follow, ends Follow without error.
var ErrStop = errors.New("natsbus: stop")

// What a reader has asked for and not consumed, at most.
const (
	pullBatches = 512
	pullBytes   = 4 << 20
	readerLease = time.Minute // of a reader that went away without a word
)

// Follow calls fn for each batch of one partition of a layer, from sequence
// from (0 and 1: the beginning) on, first those stored, then those to come. It
// returns nil after the batch with EOS and when fn returns ErrStop, else the
// error of fn or ctx. Records carry Layer, Pos and, on the JSON layers, a typed
// Event (*bus.Event, *bus.ProcEvent). A batch belongs to fn until it returns;
// payloads may be kept longer. A malformed batch is handed over with its Err.
func (b *Bus) Follow(ctx context.Context, l bus.Layer, partition int, from uint64, fn func(*Batch) error) error {
	link, err := b.link(l)
	if err != nil {
		return err
	}
	ctx, cancel := link.watch(ctx)
	defer cancel()
	r, err := b.openReader(ctx, l, partition, from)
	if err != nil {
		return err
	}
	defer r.close()
	next := max(from, 1)
	for {
		batch, err := r.read(ctx)
		if err != nil {
			return err
		}
		batch.Missed, next = batch.Seq-min(next, batch.Seq), batch.Seq+1
		if err := fn(batch); err != nil {
			if errors.Is(err, ErrStop) {
				return nil
			}
			return err
		}
		if batch.endsStream() {
			return nil
		}
	}
}

// reader delivers the messages of one stream in order, each once.
type reader interface {
	read(ctx context.Context) (*Batch, error)
	close()
}

// streamReader is the reader of whoever may make a consumer.
type streamReader struct {
	link      *link
	layer     bus.Layer
	partition int
	it        jetstream.MessagesContext
	here      *nats.Subscription // see readerAnswers
}

func (b *Bus) openReader(ctx context.Context, l bus.Layer, partition int, from uint64) (reader, error) {
	if b.access.Tap {
		return b.openTapReader(ctx, l, partition, from)
	}
	link, err := b.link(l)
	if err != nil {
		return nil, err
	}
	stream := bus.StreamName(b.access.Session, l, partition)
	name := readerName(link.nc)
	here, err := b.Conn().Subscribe(b.CtlSubject(readerSubject+name), func(m *nats.Msg) { _ = m.Respond(nil) })
	if err != nil {
		return nil, fmt.Errorf("natsbus: read %s: %w", stream, link.explain(err))
	}
	var it jetstream.MessagesContext
	err = awaitStream(ctx, func() error {
		// Ordered: no acknowledgements and no state of the server's that matters;
		// it is made again after a gap or a lost connection.
		c, err := link.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       max(from, 1),
			InactiveThreshold: readerLease,
			NamePrefix:        name,
		})
		if err == nil {
			it, err = c.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullBatches, pullBytes))
		}
		return err
	})
	if err != nil {
		_ = here.Unsubscribe()
		return nil, fmt.Errorf("natsbus: read %s: %w", stream, link.explain(err))
	}
	return &streamReader{link: link, layer: l, partition: partition, it: it, here: here}, nil
}

const readerSubject = "reader." // a reader's name follows

// readerAnswers reports whether the reader whose consumer has this name is there.
// Its process answers as long as it lives, so a killed one does not hold up
// trimming until the server forgets its consumer. When in doubt it is there.
func (b *Bus) readerAnswers(consumer string) bool {
	name, _, ok := strings.Cut(consumer, "_")
	if _, ours := readerConn(name); !ok || !ours {
		return true
	}
	_, err := b.Conn().Request(b.CtlSubject(readerSubject+name), nil, lookTimeout)
	return !errors.Is(err, nats.ErrNoResponders)
}

// readerName makes the name of a consumer, which tells its connection.
func readerName(nc *nats.Conn) string {
	id, err := nc.GetClientID()
	if err != nil { // an old server, or just disconnected
		return nuid.Next()
	}
	return fmt.Sprintf("c%d-%s", id, nuid.Next())
}

// readerConn is the connection that readerName was given.
func readerConn(name string) (id uint64, ok bool) {
	_, err := fmt.Sscanf(name, "c%d-", &id)
	return id, err == nil
}

func (r *streamReader) read(ctx context.Context) (*Batch, error) {
	m, err := r.it.Next(jetstream.NextContext(ctx))
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if r.link.nc.IsClosed() || errors.Is(err, jetstream.ErrMsgIteratorClosed) { // only by the connection: close comes after read
			return nil, ErrGone
		}
		return nil, fmt.Errorf("natsbus: read layer %v, partition %d: %w", r.layer, r.partition, err)
	}
	md, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("natsbus: read layer %v, partition %d: %w", r.layer, r.partition, err)
	}
	b := parseBatch(r.layer, m.Data())
	b.Partition, b.Seq, b.Drained, b.backlog = r.partition, md.Sequence.Stream, md.NumPending == 0, md.NumPending
	return b, nil
}

func (r *streamReader) close() {
	r.it.Stop()
	_ = r.here.Unsubscribe()
}
