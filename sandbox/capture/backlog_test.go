//go:build linux

package capture

import (
	"context"
	"os"
	"testing"
	"time"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// stuck is a partition that takes nothing until it is opened.
type stuck struct {
	*memory
	open   chan struct{}
	killed chan struct{} // closed: fail
}

func (s stuck) Publish(r *bus.Record) error {
	select {
	case <-s.open:
	case <-s.killed:
		return errKilled
	}
	return s.memory.Publish(r)
}

// held is a flow of datagrams that a ring takes, and the gate before it.
func (n *namespace) held(packet, page *os.File) (fd int, ring *Ring, gate *Gate) {
	n.t.Helper()
	n.bind(9000)
	fd = n.udp(localhost, 9000)
	ring, err := Map(int(packet.Fd()), int(page.Fd()))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { ring.Close() })
	if gate, err = NewGate(int(packet.Fd()), int(page.Fd()), 50); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { gate.Close() })
	return fd, ring, gate
}

// A bus that stands still for a while costs no frame, not even of traffic that
// the gate cannot hold back; what waited survives the reader; and the memory
// is given back.
func TestBusStandsStill(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	fd, ring, gate := n.held(packet, page)

	all, out := memories(1)
	s := stuck{all[0], make(chan struct{}), make(chan struct{})}
	out[0].Publisher = s
	done := make(chan error)
	go func() { done <- NewReader(ring, out).Run(context.Background()) }()
	// Until half of the backlog waits: four times what the ring can hold.
	sent := uint64(0)
	for gate.Waiting() < backlogBlocks/2 {
		for gate.Fill() > Blocks/2 { // leave the processor to the reader
			time.Sleep(time.Millisecond)
		}
		send(t, fd, sent, 60000)
		sent++
	}
	if !gate.Full() {
		t.Error("the gate is open although half of the backlog waits")
	}
	if got := allocated(t, int(page.Fd())); got <= pageSize+lowBlocks*BlockSize {
		t.Errorf("%d bytes of the backlog are in use", got)
	}
	close(s.killed)
	if err := <-done; err != errKilled {
		t.Fatal(err)
	}

	close(s.open)
	out[0].Publisher = all[0]
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- NewReader(ring, out).Run(ctx) }()
	gate.Wait()
	for gate.Waiting() > 0 {
		time.Sleep(time.Millisecond)
	}
	if gate.Full() {
		t.Error("the gate is closed although nothing waits")
	}
	for allocated(t, int(page.Fd())) > pageSize+lowBlocks*BlockSize {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	records := all[0].records
	if uint64(len(records)) != sent+1 {
		t.Fatalf("%d frames recorded, %d sent", len(records)-1, sent)
	}
	for i := range sent {
		if c, _ := counterOf(&records[i]); c != i {
			t.Fatalf("record %d is datagram %d", i, c)
		}
	}
}

// allocated is how much memory a file without a name takes.
func allocated(t *testing.T, fd int) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// When the backlog is full as well, losses are counted, and nothing is lost
// that had a place.
func TestBacklogFull(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	ring, err := Map(int(packet.Fd()), int(page.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	all, out := memories(1)
	s := stuck{all[0], make(chan struct{}), nil}
	out[0].Publisher = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- NewReader(ring, out).Run(ctx) }()
	sent := uint64(0)
	for ring.page.waiting.Load() < backlogBlocks || ring.waits() < Blocks {
		send(t, fd, sent, 60000)
		sent++
	}
	for range 50 { // these have no place any more
		send(t, fd, sent, 60000)
		sent++
	}
	cancel()
	close(s.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var found, lost uint64
	for _, r := range all[0].records {
		switch r.Type {
		case bus.Dropped:
			lost += uint64(r.Aux)
		case bus.EOS:
		default:
			found++
		}
	}
	if lost < 50 || found+lost != sent {
		t.Errorf("%d frames and %d lost, %d sent", found, lost, sent)
	}
}

// A larger backlog leaves the gate open for longer and gives a killed reader's
// successor what waits in it, as the smallest does.
func TestLargeBacklog(t *testing.T) {
	n := newNamespace(t)
	packet, _ := n.capture()
	page, err := NewPageWith(2*MinBacklog + 1)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	fd, ring, gate := n.held(packet, page)
	all, out := memories(1)
	s := stuck{all[0], make(chan struct{}), make(chan struct{})}
	out[0].Publisher = s
	done := make(chan error)
	go func() { done <- NewReader(ring, out).Run(context.Background()) }()
	sent := uint64(0)
	for gate.Waiting() < 2*backlogBlocks-backlogBlocks/2 {
		if gate.Full() && gate.Fill() < Blocks/2 && gate.Waiting() < 2*backlogBlocks-backlogBlocks/2 {
			t.Fatalf("the gate is closed with %d blocks waiting", gate.Waiting())
		}
		for gate.Fill() > Blocks/4 { // leave the processor to the reader
			time.Sleep(time.Millisecond)
		}
		send(t, fd, sent, 60000)
		sent++
	}
	if !gate.Full() {
		t.Error("the gate is open although the rest is for what it cannot hold back")
	}
	close(s.killed)
	if err := <-done; err != errKilled {
		t.Fatal(err)
	}
	close(s.open)
	out[0].Publisher = all[0]
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- NewReader(ring, out).Run(ctx) }()
	gate.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	records := all[0].records
	if uint64(len(records)) != sent+1 {
		t.Fatalf("%d frames recorded, %d sent", len(records)-1, sent)
	}
	for i := range sent {
		if c, _ := counterOf(&records[i]); c != i {
			t.Fatalf("record %d is datagram %d", i, c)
		}
	}
}
