package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Errors of a writer. After any of them it is of no more use.
var (
	ErrFenced      = errors.New("another writer took the stream over")
	ErrUnavailable = errors.New("the server stores nothing; is the disk of the session full?")
)

var errClosed = errors.New("natsbus: the publisher is closed")

const (
	windowBytes   = 8 << 20 // not acknowledged, at most
	windowBatches = 256
	storedExtra   = 400 // bytes that a stored message has on top of its data, at most
	ackTimeout    = 5 * time.Second
	lookTimeout   = time.Second     // of a question on the way, asked again if it is lost
	giveUp        = 8 * time.Second // without anything stored, while the server is there
	minBackoff    = 2 * time.Millisecond
	maxBackoff    = 50 * time.Millisecond
)

// sender publishes batches into one stream, pipelined and in order. Each
// message names the sequence and the id of its predecessor, so that the stream
// refuses the successors of a lost message and every message of a second
// writer. The sequence alone would not do for the latter: what the second
// writer stores can make the sequence right that a message under way expects.
// After any failure sender goes back to the first message that was not
// acknowledged. The loss of the connection and a full stream block; see the
// errors above for what ends it.
type sender struct {
	link    *link
	stream  string
	subject string
	inbox   string // replies: inbox.attempt.sequence
	id      string // of the writer, unique
	first   uint64 // sequence of the mark
	sub     *nats.Subscription
	acks    chan *nats.Msg
	wake    chan struct{}
	ctx     context.Context // ends with close
	quit    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	queue   []queued // not acknowledged, in order
	bytes   int      // of queue
	next    uint64   // sequence of the next message queued
	err     error
	changed chan struct{} // closed whenever something was acknowledged or failed

	// Of the loop only.
	sent     int // messages of queue that are under way in this attempt
	attempt  int
	probing  bool // after a failure the first message goes alone
	pause    time.Duration
	resumeAt time.Time
	lastAck  time.Time
	dry      time.Time // since when the server answers that it stores nothing
	high     uint64    // bytes in the stream above which sending waits; 0 is none
	stored   uint64    // upper bound of the bytes in the stream
	resent   int       // messages sent again
}

type queued struct {
	seq  uint64
	data []byte
}

// claim takes the stream over and returns the sequence of its mark. The mark is
// the one message that is not fenced: whatever an earlier writer has under way
// is either stored before it or refused.
func (b *Bus) claim(ctx context.Context, l bus.Layer, partition int, producer uint32) (*sender, uint64, error) {
	link, err := b.link(l)
	if err != nil {
		return nil, 0, err
	}
	session := b.access.Session
	return claimStream(ctx, link, bus.StreamName(session, l, partition), bus.Subject(session, l, partition), newBatcher(l, producer).claim())
}

func claimStream(ctx context.Context, link *link, stream, subject string, mark []byte) (*sender, uint64, error) {
	s := &sender{
		link: link, stream: stream, subject: subject,
		inbox: link.nc.NewInbox() + "." + nuid.Next(), id: nuid.Next(), acks: make(chan *nats.Msg, 2*windowBatches), wake: make(chan struct{}, 1),
		stopped: make(chan struct{}), changed: make(chan struct{}),
	}
	s.ctx, s.quit = context.WithCancel(context.Background())
	var info *jetstream.StreamInfo
	err := awaitStream(ctx, func() (err error) {
		info, err = s.info(ctx)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if n := info.Config.MaxBytes; n > 0 {
		if n < minLimit {
			return nil, 0, fmt.Errorf("natsbus: stream %s is limited to %d bytes; at least %d are needed", s.stream, n, minLimit)
		}
		s.high = uint64(n) - min(uint64(n)/8, 2*bus.MaxBatch)
		s.stored = info.State.Bytes
	}
	seq, err := s.mark(ctx, mark)
	if err != nil {
		return nil, 0, err
	}
	s.first, s.next = seq, seq+1
	if s.sub, err = link.nc.Subscribe(s.inbox+".*.*", func(m *nats.Msg) {
		select {
		case s.acks <- m:
		case <-s.ctx.Done():
		}
	}); err != nil {
		return nil, 0, fmt.Errorf("natsbus: publish to %s: %w", s.stream, err)
	}
	go s.loop()
	return s, seq, nil
}

func (s *sender) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream, err := s.link.js.Stream(ctx, s.stream)
	if err != nil {
		return nil, fmt.Errorf("natsbus: stream %s: %w", s.stream, s.link.explain(err))
	}
	return stream.CachedInfo(), nil
}

// mark publishes the claim, again if its acknowledgement does not come: a
// second mark does no harm.
func (s *sender) mark(ctx context.Context, data []byte) (uint64, error) {
	start := time.Now()
	for {
		c, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := s.link.js.Publish(c, s.subject, data, jetstream.WithMsgID(s.id))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		full := isAPI(err, errCodeMaxBytes)
		if ctx.Err() != nil || !full && time.Since(start) > giveUp {
			return 0, fmt.Errorf("natsbus: take over %s: %w", s.stream, s.link.explain(err))
		}
		if err := sleep(ctx, maxBackoff); err != nil {
			return 0, err
		}
	}
}

// reserve waits until the window has room for n bytes. The caller is the only publisher.
func (s *sender) reserve(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return s.fits(n) })
}

func (s *sender) hasRoom(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fits(n)
}

func (s *sender) fits(n int) bool {
	return len(s.queue) == 0 || s.bytes+n <= windowBytes && len(s.queue) < windowBatches
}

// publish queues data, which then belongs to the sender. It does not wait for room: see reserve.
func (s *sender) publish(data []byte) error {
	return s.wait(context.Background(), func() bool {
		s.queue = append(s.queue, queued{s.next, data})
		s.bytes += len(data)
		s.next++
		select {
		case s.wake <- struct{}{}:
		default:
		}
		return true
	})
}

// flush waits until everything is stored.
func (s *sender) flush(ctx context.Context) error {
	return s.wait(ctx, func() bool { return len(s.queue) == 0 })
}

// wait calls done, under the lock, until it is true, sender failed, or ctx ended.
func (s *sender) wait(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return s.err
		}
		if done() {
			s.mu.Unlock()
			return nil
		}
		c := s.changed
		s.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return errClosed
		}
	}
}

// failed is the error that ended the sender, if any.
func (s *sender) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.ctx.Err() != nil {
		return errClosed
	}
	return s.err
}

// close ends the sender; what is not stored yet may be lost.
func (s *sender) close() {
	s.quit()
	<-s.stopped
	s.sub.Unsubscribe()
}

func (s *sender) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = fmt.Errorf("natsbus: publish to %s: %w", s.stream, err)
	}
	s.notify()
	s.mu.Unlock()
}

func (s *sender) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// getMsg reads one message from the leader of the stream.
func getMsg(ctx context.Context, js jetstream.JetStream, stream string, seq uint64) (*jetstream.RawStreamMsg, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.GetMsg(ctx, seq)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
