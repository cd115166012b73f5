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

// StreamConfig is for CreateStreams.
type StreamConfig struct {
	Replicas    int   // 0 is 1
	StreamBytes int64 // limit of each stream, at least 4 MiB; 0 is 1 GiB
}

// minLimit of a stream: a few batches of any size have to fit.
const minLimit = 4 * bus.MaxBatch

// CreateStreams makes the streams of a session on an external cluster. The
// embedded server has made its own. Streams that exist are kept.
func (b *Bus) CreateStreams(ctx context.Context, c StreamConfig) error {
	if c.StreamBytes == 0 {
		c.StreamBytes = 1 << 30
	}
	if c.StreamBytes < minLimit {
		return fmt.Errorf("natsbus: streams of %d bytes; at least %d are needed", c.StreamBytes, minLimit)
	}
	return b.createStreams(ctx, c, func(bus.Layer) bool { return true })
}

func (b *Bus) createStreams(ctx context.Context, c StreamConfig, which func(bus.Layer) bool) error {
	return b.eachStream(func(js jetstream.JetStream, l bus.Layer, p int) error {
		if !which(l) {
			return nil
		}
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name:     bus.StreamName(b.access.Session, l, p),
			Subjects: []string{bus.Subject(b.access.Session, l, p)},
			Storage:  jetstream.FileStorage,
			Replicas: max(c.Replicas, 1),
			// Limits, not interest: a restarted stage reads again what was read before.
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardNew,
			MaxBytes:    c.StreamBytes,
			AllowDirect: true,
			Duplicates:  100 * time.Millisecond, // message ids serve to name a predecessor; the default keeps 2 min of them
		})
		if err != nil {
			return fmt.Errorf("natsbus: create stream %s: %w", bus.StreamName(b.access.Session, l, p), err)
		}
		return nil
	})
}

// DeleteStreams removes them, those of the snapshots too, and what they hold.
func (b *Bus) DeleteStreams(ctx context.Context) error {
	err := b.eachStream(func(js jetstream.JetStream, l bus.Layer, p int) error {
		return deleteStream(ctx, js, bus.StreamName(b.access.Session, l, p))
	})
	var errs []error
	for _, l := range bus.Layers {
		if primary(l) {
			continue
		}
		for p := range l.StreamCount(b.access.Partitions) {
			for _, link := range []*link{b.main, b.keys} {
				if link != nil {
					errs = append(errs, deleteStream(ctx, link.js, snapshotStream(b.access.Session, l, p)))
				}
			}
		}
	}
	return errors.Join(append(errs, err)...)
}

func deleteStream(ctx context.Context, js jetstream.JetStream, name string) error {
	if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("natsbus: delete stream %s: %w", name, err)
	}
	return nil
}

func (b *Bus) streamInfo(ctx context.Context, l bus.Layer, partition int) (*jetstream.StreamInfo, error) {
	link, err := b.link(l)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	name := bus.StreamName(b.access.Session, l, partition)
	stream, err := link.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("natsbus: stream %s: %w", name, link.explain(err))
	}
	return stream.CachedInfo(), nil
}

// eachStream calls f for all streams that b may use, several at a time.
func (b *Bus) eachStream(f func(jetstream.JetStream, bus.Layer, int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, streamCount(b.access.Partitions))
	for _, l := range bus.Layers {
		if l == bus.Keys && b.keys == nil {
			continue
		}
		for p := range l.StreamCount(b.access.Partitions) {
			wg.Go(func() { errs <- f(b.jetstream(l), l, p) })
		}
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// streamTime is how long a stream may be in the making.
const streamTime = 10 * time.Second

// awaitStream calls f until it finds its stream.
func awaitStream(ctx context.Context, f func() error) error {
	start := time.Now()
	for {
		err := f()
		if !errors.Is(err, jetstream.ErrStreamNotFound) || time.Since(start) > streamTime {
			return err
		}
		if err := sleep(ctx, minBackoff); err != nil {
			return err
		}
	}
}

func streamCount(partitions int) (n int) {
	for _, l := range bus.Layers {
		n += l.StreamCount(partitions)
	}
	return n
}
