package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Trimming keeps a long session from filling its streams, since a full stream
// holds up its writer and, in the end, the traffic of the program. A stream
// shorter than keepBytes is left alone: its history serves those who come late.
//
// Beyond that, what the stages that read it need no more is removed: what is
// below their Low. A connection that stays open pins the log there until the
// stage stores a snapshot of its state. A stage that cannot would have the log
// full for ever: when it has consumed all of a stream near its limit and still
// needs the beginning, that is removed all the same. Nothing is lost by that as
// long as the stage lives, but if it is killed then it has forgotten such
// connections. The layers that no stage reads lose their oldest history instead.
// What a connected reader has not been sent yet is never removed.
const (
	trimInterval = 500 * time.Millisecond
	scarceDisk   = 256 << 20 // with less free than this nothing is kept for late comers
)

func keepBytes(limit uint64) uint64  { return limit / 2 }
func forceBytes(limit uint64) uint64 { return limit / 8 * 6 }

// outputsOf tells the outputs whose headers say how far a layer was consumed.
type outputsOf struct {
	outputs []bus.Layer
	second  bool // it is the second main input
}

var readBy = map[bus.Layer]outputsOf{
	bus.Frames: {outputs: []bus.Layer{bus.TCP, bus.UDP}},
	bus.TCP:    {outputs: []bus.Layer{bus.Plain}},
	bus.UDP:    {outputs: []bus.Layer{bus.Plain}, second: true},
	bus.Plain:  {outputs: []bus.Layer{bus.HTTP, bus.Body}},
}

// trim runs until Close.
func (s *Server) trim() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-s.done; cancel() }()
	<-s.made
	select {
	case <-s.done:
		return
	default:
	}
	b, err := Connect(ctx, s.InProcess().WithoutKeys(), "trim")
	if err != nil {
		s.cfg.Log.Error().Err(err).Msg("streams are not trimmed")
		return
	}
	defer b.Close()
	connected := func(reader string) bool {
		id, ok := readerConn(reader)
		return !ok || s.nats.GetClient(id) != nil
	}
	t := &trimmer{b, s.cfg.readBy, connected, &s.forced}
	t.run(ctx, s.cfg.trimEvery, s.cfg.Log, func() (bool, error) {
		free, err := freeBytes(s.cfg.StoreDir)
		return free < scarceDisk, err
	})
}

// Trim trims the streams of a session on a server of others, as the embedded
// server does with its own, until ctx ends. One process of a session does it.
func (b *Bus) Trim(ctx context.Context, log zerolog.Logger) {
	t := &trimmer{b, readBy, b.readerAnswers, new(atomic.Int64)}
	t.run(ctx, trimInterval, log, func() (bool, error) { return false, nil })
}

// run trims at intervals until ctx ends; scarce says whether the disk is.
func (t *trimmer) run(ctx context.Context, every time.Duration, log zerolog.Logger, scarce func() (bool, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		little, err := scarce()
		if err == nil {
			err = t.trimStreams(ctx, little)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn().Err(err).Msg("trim")
		}
	}
}

// trimmer trims the streams of a session.
type trimmer struct {
	bus       *Bus
	readBy    map[bus.Layer]outputsOf
	connected func(reader string) bool // by the name of its consumer
	forced    *atomic.Int64            // times that history was given up that a restart would need
}

// trimStreams looks at every stream once.
func (t *trimmer) trimStreams(ctx context.Context, scarce bool) error {
	b := t.bus
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list := b.main.js.ListStreams(ctx, jetstream.WithStreamListSubject("clipper."+b.access.Session+".>"))
	infos := map[string]*jetstream.StreamInfo{}
	for info := range list.Info() {
		infos[info.Config.Name] = info
	}
	if list.Err() != nil {
		return fmt.Errorf("natsbus: list streams: %w", list.Err())
	}
	var errs []error
	for _, l := range bus.Layers {
		for p := range l.StreamCount(b.access.Partitions) {
			info := infos[bus.StreamName(b.access.Session, l, p)]
			if info == nil || l == bus.Keys || l == bus.Proc {
				continue
			}
			limit := uint64(max(info.Config.MaxBytes, 0))
			if info.State.Bytes > keepBytes(limit) || scarce && info.State.Bytes > minStream {
				errs = append(errs, t.trimStream(ctx, l, p, info))
			}
		}
	}
	return errors.Join(errs...)
}

func (t *trimmer) trimStream(ctx context.Context, l bus.Layer, partition int, info *jetstream.StreamInfo) error {
	b := t.bus
	st := info.State
	force := st.Bytes > forceBytes(uint64(info.Config.MaxBytes))
	var to uint64 // the first to stay
	if r, ok := t.readBy[l]; ok {
		low, done, err := b.consumed(ctx, r.outputs, partition, r.second)
		if err != nil {
			return err
		}
		to = low
		if force && low <= st.FirstSeq && done >= st.LastSeq {
			to = done + 1
			t.forced.Add(1)
		}
	} else if force {
		to = st.FirstSeq + (st.LastSeq-st.FirstSeq)/4
	}
	if to <= st.FirstSeq {
		return nil
	}
	// A restarted writer needs its last batch with records.
	last, err := lastBatch(ctx, b.main, info.Config.Name, l, st.LastSeq+1, true)
	if err != nil || last == nil {
		return err
	}
	to = min(to, last.Seq)
	stream, err := b.main.js.Stream(ctx, info.Config.Name)
	if err != nil {
		return fmt.Errorf("natsbus: trim %s: %w", info.Config.Name, err)
	}
	readers := stream.ListConsumers(ctx)
	for c := range readers.Info() {
		if to > c.Delivered.Stream+1 && t.connected(c.Name) {
			to = min(to, c.Delivered.Stream+1)
		}
	}
	if readers.Err() != nil {
		return fmt.Errorf("natsbus: trim %s: %w", info.Config.Name, readers.Err())
	}
	if to <= st.FirstSeq {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(to)); err != nil {
		return fmt.Errorf("natsbus: trim %s: %w", info.Config.Name, err)
	}
	return nil
}

// consumed is how far all outputs cover an input: replay needs what is from low
// on, and everything up to done was consumed. Both are zero while that is not
// certain.
func (b *Bus) consumed(ctx context.Context, outputs []bus.Layer, partition int, second bool) (low, done uint64, err error) {
	producers := make([]uint32, len(outputs))
	for i, l := range outputs {
		last, err := b.progressOf(ctx, l, partition)
		if err != nil || last == nil {
			return 0, 0, err
		}
		producers[i] = last.Producer
		at, from := last.Source, last.Low
		if second {
			at, from = last.Second, last.SecondLow
		}
		if i == 0 || from < low {
			low = from
		}
		if i == 0 || at < done {
			done = at
		}
	}
	// A restarted stage begins at the lowest Low of its outputs and so may write a
	// lower Low than one output had. It has claimed all outputs before: if none of
	// them is claimed now, all that was read is of one run.
	for i, l := range outputs {
		last, err := b.progressOf(ctx, l, partition)
		if err != nil || last == nil || last.Producer != producers[i] {
			return 0, 0, err
		}
	}
	return low, done, nil
}

// progressOf is the last batch of an output, nil if there is none or a claim came after it.
func (b *Bus) progressOf(ctx context.Context, l bus.Layer, partition int) (*Batch, error) {
	info, err := b.streamInfo(ctx, l, partition)
	if err != nil {
		return nil, err
	}
	end := info.State.LastSeq
	last, err := lastBatch(ctx, b.main, info.Config.Name, l, end+1, false)
	if err != nil || last == nil || last.Seq != end {
		return nil, err
	}
	return last, nil
}
