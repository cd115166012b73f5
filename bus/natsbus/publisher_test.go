package natsbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/porttest"
	"github.com/nats-io/nats.go/jetstream"
)

// frame n of a numbered source.
func frame(n int, size int) *bus.Record {
	b := make([]byte, size)
	content(bus.ConnID(n), 0, b)
	return &bus.Record{Layer: bus.Frames, Type: 1, Offset: uint64(n), Time: int64(n), Payload: b}
}

// publishFrames publishes the frames from first to last, then EOS.
func publishFrames(ctx context.Context, p *Publisher, first, last, size int) error {
	for n := first; n <= last; n++ {
		if err := p.Publish(ctx, frame(n, size)); err != nil {
			return err
		}
	}
	if err := p.Publish(ctx, &bus.Record{Layer: bus.Frames, Type: bus.EOS, Offset: uint64(last) + 1}); err != nil {
		return err
	}
	return p.Flush(ctx)
}

// checkFrames reads partition 0 to its end: exactly the frames 1 to last, in order.
func checkFrames(t *testing.T, b *Bus, last int, each func(*Batch)) {
	t.Helper()
	n := 0
	err := b.Follow(t.Context(), bus.Frames, 0, 1, func(m *Batch) error {
		for r := range m.Records() {
			if r.Type == bus.EOS {
				continue
			}
			n++
			if r.Offset != uint64(n) || !bytes.Equal(r.Payload, frame(n, len(r.Payload)).Payload) {
				t.Fatalf("seq %d: frame %d, want %d", m.Seq, r.Offset, n)
			}
		}
		if each != nil {
			each(m)
		}
		return m.Err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != last {
		t.Fatalf("%d frames of %d", n, last)
	}
}

func openPublisher(t testing.TB, b *Bus, l bus.Layer, partition int) *Publisher {
	t.Helper()
	p, err := b.OpenPublisher(t.Context(), l, partition)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublisherIdleFlush(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.InProcess(), "test")
	p := openPublisher(t, b, bus.Frames, 0)
	if err := p.Publish(t.Context(), frame(1, 10)); err != nil {
		t.Fatal(err)
	}
	err := b.Follow(t.Context(), bus.Frames, 0, 0, func(m *Batch) error { // ends only if the batch was sent
		if m.Count == 1 {
			return ErrStop
		}
		return m.Err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), frame(2, batchTarget)); !errors.Is(err, errClosed) {
		t.Fatalf("publish after close: %v", err)
	}
}

func TestPublisherResumes(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	p := openPublisher(t, b, bus.Frames, 0)
	if p.Last() != nil {
		t.Fatalf("last of an empty stream: %+v", p.Last())
	}
	for n := range 3 {
		if err := p.Publish(t.Context(), frame(n+1, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	openPublisher(t, b, bus.Frames, 0) // came and went without a record
	p = openPublisher(t, b, bus.Frames, 0)
	if p.Last() == nil || p.Last().Offset != 3 {
		t.Fatalf("last: %+v", p.Last())
	}
	if err := publishFrames(t.Context(), p, 4, 10, 100); err != nil {
		t.Fatal(err)
	}
	checkFrames(t, b, 10, nil)
	if p = openPublisher(t, b, bus.Frames, 0); p.Last().Type != bus.EOS {
		t.Fatalf("last of a complete stream: %+v", p.Last())
	}
}

// The second writer takes the stream over; what the first has under way is
// either stored before or refused.
func TestPublisherFenced(t *testing.T) {
	s := startServer(t)
	for round := range 5 {
		first, second := connect(t, s.Access(), "first"), connect(t, s.Access(), "second")
		p1 := openPublisher(t, first, bus.UDP, 0)
		start := 0
		if p1.Last() != nil {
			start = int(p1.Last().Offset)
		}
		var wg sync.WaitGroup
		var err1 error
		wg.Go(func() {
			for n := start + 1; err1 == nil; n++ {
				err1 = p1.Publish(t.Context(), frame(n, 3000))
			}
		})
		time.Sleep(20 * time.Millisecond)
		p2 := openPublisher(t, second, bus.UDP, 0)
		last := 0
		if p2.Last() != nil {
			last = int(p2.Last().Offset)
		}
		for n := last + 1; n <= last+5; n++ {
			if err := p2.Publish(t.Context(), frame(n, 3000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p2.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if !errors.Is(err1, ErrFenced) {
			t.Fatalf("round %d: the first writer ended with %v", round, err1)
		}
		n := 0
		err := second.Follow(t.Context(), bus.UDP, 0, 0, func(m *Batch) error {
			for r := range m.Records() {
				if n++; r.Offset != uint64(n) {
					t.Fatalf("round %d, seq %d: record %d, want %d", round, m.Seq, r.Offset, n)
				}
			}
			if m.Drained {
				return ErrStop
			}
			return m.Err
		})
		if err != nil || n != last+5 {
			t.Fatalf("round %d: %d records of %d: %v", round, n, last+5, err)
		}
	}
}

func TestPublisherSplits(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	p := openPublisher(t, b, bus.Body, 0)
	big := make([]byte, 3*bus.MaxBatch+17)
	content(1, 0, big)
	if err := p.Publish(t.Context(), &bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: 1, Offset: 5, Payload: big}); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), &bus.Record{Layer: bus.Body, Type: bus.Info, Payload: big}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a large record without addresses: %v", err)
	}
	if err := p.Publish(t.Context(), &bus.Record{Layer: bus.Body, Type: bus.EOS}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []byte
	err := b.Follow(t.Context(), bus.Body, 0, 0, func(m *Batch) error {
		for r := range m.Records() {
			if r.Type == bus.BodyBytes {
				if r.Offset != 5+uint64(len(got)) {
					t.Errorf("part at %d, want %d", r.Offset, 5+len(got))
				}
				got = append(got, r.Payload...)
			}
		}
		if m.size > bus.MaxBatch {
			t.Errorf("a batch of %d bytes", m.size)
		}
		return m.Err
	})
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes of %d: %v", len(got), len(big), err)
	}
}

func TestJSONLayers(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	http := openPublisher(t, b, bus.HTTP, 0)
	ctx := t.Context()
	event := &bus.Event{Type: bus.EventRequest, Time: 7, Conn: 0xabc, Stream: 3, Request: &bus.Request{Method: "GET", URL: "http://x/\n", Headers: []bus.Field{{Name: "A", Value: "b"}}}}
	for _, r := range []*bus.Record{
		{Layer: bus.HTTP, Type: bus.Line, Event: event},
		{Layer: bus.HTTP, Type: bus.Line, Payload: []byte("{\"type\":\"end\",\n \"dir\":1,\"conn\":\"0000000000000001\"}")},
		{Layer: bus.HTTP, Type: bus.EOS, Time: 9},
	} {
		if err := http.Publish(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := http.Close(ctx); err != nil {
		t.Fatal(err)
	}
	// Whoever knows only NATS can read it.
	raw, err := getMsg(ctx, b.main.js, bus.StreamName("t1", bus.HTTP, 0), 2)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(raw.Data)), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], `{"batch":{`) {
		t.Errorf("on the bus:\n%s", raw.Data)
	}
	var got []bus.Record
	if err := b.Follow(ctx, bus.HTTP, 0, 0, func(m *Batch) error {
		for r := range m.Records() {
			got = append(got, *r)
		}
		return m.Err
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Conn != 0xabc || got[0].Stream != 3 || got[0].Time != 7 || got[0].Event.(*bus.Event).Request.URL != event.Request.URL ||
		got[1].Dir != bus.ServerToClient || got[1].Event.(*bus.Event).Type != bus.EventEnd || got[2].Type != bus.EOS {
		t.Errorf("got %+v", got)
	}
	proc := openPublisher(t, b, bus.Proc, bus.ProcNetd)
	for _, r := range []*bus.Record{{Layer: bus.Proc, Type: bus.Line, Event: &bus.ProcEvent{Type: bus.ProcSocket, PID: 5}}, {Layer: bus.Proc, Type: bus.EOS}} {
		if err := proc.Publish(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := proc.Close(ctx); err != nil {
		t.Fatal(err)
	}
	pids := 0
	if err := b.Follow(ctx, bus.Proc, bus.ProcNetd, 0, func(m *Batch) error {
		for r := range m.Records() {
			pids += r.Event.(*bus.ProcEvent).PID
		}
		return m.Err
	}); err != nil || pids != 5 {
		t.Fatalf("pids %d, %v", pids, err)
	}
}

// cutter relays connections to a server and cuts them, in the middle of a write.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l}
	t.Cleanup(func() { l.Close(); c.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			go func() { io.Copy(in, out); in.Close() }()
			go func() { io.Copy(out, in); out.Close() }()
		}
	}()
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.conns {
		n.(*net.TCPConn).SetLinger(0)
		n.Close()
	}
	c.conns = nil
}

// Connections that are cut all the time: messages and acknowledgements are
// lost at any place.
func TestPublisherConnectionCut(t *testing.T) {
	s := startServer(t)
	a := s.Access()
	cut := newCutter(t, strings.TrimPrefix(a.URL, "nats://"))
	a.URL = "nats://" + cut.Addr().String()
	const frames = 60_000
	p := openPublisher(t, connect(t, a, "source"), bus.Frames, 0)
	done := make(chan error, 1)
	go func() { done <- publishFrames(t.Context(), p, 1, frames, 1500) }()
	cuts := 0
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(rand.N(60 * time.Millisecond)):
			if cuts < 20 {
				cut.cut()
				cuts++
			}
		}
	}
	checkFrames(t, connect(t, s.Access(), "sink"), frames, nil)
	t.Logf("%d cuts, %d messages sent again", cuts, p.sender.resent)
	if p.sender.resent == 0 {
		t.Error("no message was sent again: the test did not meet its case")
	}
}

// The server goes away and comes back, for the publisher and for the reader.
func TestServerRestart(t *testing.T) {
	cfg := startServer(t).cfg // of another server, for a server without guards, which this test replaces
	cfg.StoreDir, cfg.Port = t.TempDir(), int(porttest.TCP(t, "127.0.0.1").Port())
	users, err := newUsers()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: cfg, users: users, done: make(chan struct{})}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { s.nats.Shutdown() }()
	<-s.made
	source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	p := openPublisher(t, source, bus.Frames, 0)
	const frames = 40_000
	restarted := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- publishFrames(t.Context(), p, 1, frames, 3000) }()
	go func() {
		defer close(restarted)
		for range 2 {
			time.Sleep(100 * time.Millisecond)
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
			if err := s.start(); err != nil {
				t.Error(err)
				return
			}
			<-s.made
		}
	}()
	checkFrames(t, sink, frames, nil)
	<-restarted
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A full stream holds the publisher up, at the cost of its window and no more,
// and the server refuses nothing.
func TestBackpressure(t *testing.T) {
	const limit, frames, size = 16 << 20, 10_000, 8000
	s := startServer(t, func(c *ServerConfig) { c.StreamBytes = limit })
	b, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	p := openPublisher(t, b, bus.Frames, 0)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan error, 1)
	go func() { done <- publishFrames(t.Context(), p, 1, frames, size) }()
	stream, err := sink.main.js.Stream(t.Context(), p.sender.stream)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the window to fill", func() bool {
		p.sender.mu.Lock()
		defer p.sender.mu.Unlock()
		return p.sender.bytes > windowBytes-2*batchTarget
	})
	select {
	case err := <-done:
		t.Fatalf("the publisher was not held up: %v", err)
	case <-time.After(50 * time.Millisecond): // only a chance to fail
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > limit+4*windowBytes {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	checkFrames(t, sink, frames, func(m *Batch) {
		if m.Seq%32 == 0 {
			if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(m.Seq)); err != nil {
				t.Error(err)
			}
		}
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p.sender.resent > 0 {
		t.Errorf("%d messages were refused", p.sender.resent)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// What a foreign program writes into a stream must not harm a reader.
func TestFollowMalformed(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	good := newBatcher(bus.TCP, 1)
	good.add(&bus.Record{Layer: bus.TCP, Type: bus.Data, Payload: []byte("x")})
	batch := good.finish(bus.Progress{})
	short := bytes.Clone(batch[:len(batch)-1])
	many := bytes.Clone(batch)
	binary.LittleEndian.PutUint32(many[44:], 1<<31)
	other := bytes.Clone(batch)
	other[3] = byte(bus.Body)
	good.add(&bus.Record{Layer: bus.TCP, Type: bus.EOS})
	for _, m := range [][]byte{nil, []byte("hello"), batch, short, many, other, append(bytes.Clone(batch), 0), good.finish(bus.Progress{})} {
		if _, err := b.main.js.Publish(t.Context(), bus.Subject("t1", bus.TCP, 0), m); err != nil {
			t.Fatal(err)
		}
	}
	var bad, records int
	err := b.Follow(t.Context(), bus.TCP, 0, 0, func(m *Batch) error {
		for range m.Records() {
			records++
		}
		if m.Err != nil {
			bad++
		}
		return nil
	})
	if err != nil || bad != 6 || records != 4 {
		t.Errorf("%d malformed batches, %d records: %v", bad, records, err)
	}
}
