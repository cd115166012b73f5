package natsbus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// A stage whose state can be stored (bus.Snapshotter) has a stream of snapshots
// for each partition, made when the first is due. It holds secrets if the stage
// takes Keys, and then lives in their account; taps can read it in neither,
// because it allows no direct access.
//
// A snapshot is a run of messages in the envelope of the layers: records of
// type Data with the pieces of the state, then one of type End with the program
// that wrote it. Their Progress is the position of the state.

const snapshotEnvelope bus.Layer = 0 // binary, and no layer

// snapshots is the writer of a stage's snapshots.
type snapshots struct {
	sender *sender
	batch  *batcher
	limit  int // bytes of a snapshot, at most
}

// snapshot is the state of a stage once it had consumed the inputs up to pos.
type snapshot struct {
	pos     position
	first   uint64 // sequences of its messages
	end     uint64
	program string
	state   []byte
}

// snapshotSource says whose snapshots they are: every layer is given by one stage.
type snapshotSource struct {
	layer     bus.Layer // the stage's first output
	partition int
	secret    bool // the stage takes Keys
}

func (b *Bus) snapshotLink(secret bool) (*link, error) {
	if secret {
		return b.link(bus.Keys)
	}
	return b.main, nil
}

func snapshotStream(session string, l bus.Layer, partition int) string {
	return bus.StreamName(session, l, partition) + "_snapshots"
}

// openSnapshots takes the stream over and reads its last snapshot, which is nil
// if there is none. Without a stream both are nil.
func (b *Bus) openSnapshots(ctx context.Context, src snapshotSource) (*snapshots, *snapshot, error) {
	link, err := b.snapshotLink(src.secret)
	if err != nil {
		return nil, nil, err
	}
	name := snapshotStream(b.access.Session, src.layer, src.partition)
	c, cancel := context.WithTimeout(ctx, ackTimeout)
	stream, err := link.js.Stream(c, name)
	cancel()
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("natsbus: stream %s: %w", name, link.explain(err))
	}
	s := &snapshots{batch: newBatcher(snapshotEnvelope, newProducer()), limit: int(stream.CachedInfo().Config.MaxBytes / 3)}
	var claim uint64
	if s.sender, claim, err = claimStream(ctx, link, name, snapshotSubject(b.access.Session, src), s.batch.claim()); err != nil {
		return nil, nil, err
	}
	last, err := s.last(ctx, claim)
	if err != nil {
		s.sender.close()
		return nil, nil, err
	}
	_ = s.keepOnly(ctx, last, claim) // the next time will do
	return s, last, nil
}

// keepOnly removes what a kill left beside the last snapshot, before the claim: a
// snapshot that was not trimmed yet, and one that was cut off. The stream has no
// room for several.
func (s *snapshots) keepOnly(ctx context.Context, last *snapshot, claim uint64) error {
	if last == nil {
		return s.trim(ctx, claim)
	}
	if err := s.trim(ctx, last.first); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream, err := s.sender.link.js.Stream(ctx, s.sender.stream)
	if err != nil {
		return err
	}
	for seq := last.end + 1; seq < claim && ctx.Err() == nil; seq++ {
		err = errors.Join(err, stream.DeleteMsg(ctx, seq)) // perhaps it was before
	}
	return err
}

func snapshotSubject(session string, src snapshotSource) string {
	return fmt.Sprintf("clipper.%s.snapshot.%v.%d", session, src.layer, src.partition)
}

// makeSnapshots makes the stream, with the limits of the stage's output, and
// takes it over.
func (b *Bus) makeSnapshots(ctx context.Context, src snapshotSource) (*snapshots, error) {
	link, err := b.snapshotLink(src.secret)
	if err != nil {
		return nil, err
	}
	c, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	like, err := b.streamInfo(c, src.layer, src.partition)
	if err != nil {
		return nil, err
	}
	cfg := jetstream.StreamConfig{
		Name:       snapshotStream(b.access.Session, src.layer, src.partition),
		Subjects:   []string{snapshotSubject(b.access.Session, src)},
		Storage:    jetstream.FileStorage,
		Replicas:   like.Config.Replicas,
		MaxBytes:   like.Config.MaxBytes,
		Discard:    jetstream.DiscardNew,
		Duplicates: 100 * time.Millisecond,
	}
	if _, err := link.js.CreateStream(c, cfg); err != nil {
		return nil, fmt.Errorf("natsbus: create stream %s: %w", cfg.Name, link.explain(err))
	}
	s, _, err := b.openSnapshots(ctx, src)
	return s, err
}

// put stores a snapshot.
func (s *snapshots) put(ctx context.Context, at position, program string, state []byte) error {
	pieces := uint32(0)
	for off := 0; off < len(state); off += maxPart {
		piece := state[off:min(off+maxPart, len(state))]
		if err := s.send(ctx, &bus.Record{Type: bus.Data, Offset: uint64(off), Payload: piece}, at); err != nil {
			return err
		}
		pieces++
	}
	if err := s.send(ctx, &bus.Record{Type: bus.End, Aux: pieces, Payload: []byte(program)}, at); err != nil {
		return err
	}
	return s.sender.flush(ctx)
}

// trim removes what is before the message first, that with which the last
// snapshot begins.
func (s *snapshots) trim(ctx context.Context, first uint64) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream, err := s.sender.link.js.Stream(ctx, s.sender.stream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSequence(first))
	}
	if err != nil {
		return fmt.Errorf("natsbus: trim %s: %w", s.sender.stream, s.sender.link.explain(err))
	}
	return nil
}

func (s *snapshots) send(ctx context.Context, r *bus.Record, at position) error {
	if _, err := s.batch.add(r); err != nil {
		return err
	}
	if err := s.sender.reserve(ctx, len(s.batch.buf)); err != nil {
		return err
	}
	return s.sender.publish(s.batch.finish(point{pos: at}.progress(at)))
}

// last is the last whole snapshot before the sequence seq, nil if there is none.
func (s *snapshots) last(ctx context.Context, seq uint64) (*snapshot, error) {
	info, err := s.sender.info(ctx)
	if err != nil {
		return nil, err
	}
	for seq--; seq >= max(info.State.FirstSeq, 1); seq-- {
		b, err := s.read(ctx, seq)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		for r := range b.Records() {
			if r.Type != bus.End {
				continue
			}
			snap := &snapshot{pos: pointOf(b.Progress).pos, first: seq - min(uint64(r.Aux), seq), end: seq, program: string(r.Payload)}
			if whole, err := s.join(ctx, snap); err != nil {
				return nil, err
			} else if whole {
				return snap, nil
			}
		}
	}
	return nil, nil
}

// join reads the pieces of a snapshot, which come before its end.
func (s *snapshots) join(ctx context.Context, snap *snapshot) (whole bool, err error) {
	for seq := snap.first; seq < snap.end; seq++ {
		b, err := s.read(ctx, seq)
		if err != nil || b == nil {
			return false, err
		}
		for r := range b.Records() {
			if r.Type != bus.Data || r.Offset != uint64(len(snap.state)) || pointOf(b.Progress).pos != snap.pos {
				return false, nil
			}
			snap.state = append(snap.state, r.Payload...)
		}
	}
	return snap.first > 0, nil
}

// read is one message; nil if it is not there, or damaged.
func (s *snapshots) read(ctx context.Context, seq uint64) (*Batch, error) {
	c, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	m, err := getMsg(c, s.sender.link.js, s.sender.stream, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("natsbus: snapshot in %s: %w", s.sender.stream, s.sender.link.explain(err))
	}
	b := parseBatch(snapshotEnvelope, m.Data)
	if b.Err != nil {
		return nil, nil
	}
	return b, nil
}

// executable identifies the program: one that was swapped for another may mean
// another thing by the same bytes. It is empty if that cannot be told.
var executable = sync.OnceValue(func() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return string(h.Sum(nil))
})
