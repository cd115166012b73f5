//go:build linux

package capture

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"
)

func TestGate(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	g, err := NewGate(int(packet.Fd()), int(page.Fd()), 50)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()

	if g.Full() {
		t.Fatal("full without a frame")
	}
	// Nobody reads: the gate closes at half of the ring, long before a loss.
	sent := 0
	for ; !g.Full(); sent++ {
		if sent > Blocks*BlockSize/60000 {
			t.Fatal("a whole ring of data and the gate is open")
		}
		send(t, fd, uint64(sent), 60000)
	}
	if f := g.Fill(); f != Blocks/2 {
		t.Errorf("gate closed at %d blocks, want %d", f, Blocks/2)
	}

	// A reader opens it again.
	all, out := memories(1)
	ring, err := Map(int(packet.Fd()), int(page.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- NewReader(ring, out).Run(ctx) }()
	g.Wait()
	if g.stuck.Load() != 0 {
		t.Error("the gate ran into its limit, not into the reader")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := len(all[0].records) - 1; got != sent {
		t.Errorf("%d frames recorded, %d sent", got, sent)
	}

	// After the end of the capture nothing is held back.
	for range 3 * Blocks * BlockSize / 60000 {
		send(t, fd, 0, 60000)
	}
	if g.Fill() != Blocks {
		t.Fatalf("%d blocks full, want all", g.Fill())
	}
	if g.Full() {
		t.Error("closed after the end of the capture")
	}
}

// The gate of another process must not count the whole ring as its memory.
func TestGateMapsOnlyStatus(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	g, err := NewGate(int(packet.Fd()), int(page.Fd()), 50)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mappedOf(t, packet), Blocks*os.Getpagesize(); got != want {
		t.Errorf("%d bytes of the ring are mapped, want %d", got, want)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if got := mappedOf(t, packet); got != 0 {
		t.Errorf("%d bytes of the ring are mapped after Close", got)
	}
}

// mappedOf is how many bytes of a packet socket's ring this process maps.
func mappedOf(t *testing.T, packet *os.File) (bytes int) {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", packet.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), " "+name) {
			var from, to int
			fmt.Sscanf(line, "%x-%x", &from, &to)
			bytes += to - from
		}
	}
	return bytes
}

// A reader that never comes back must not stop the program for ever.
func TestGateLimit(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	g, err := NewGate(int(packet.Fd()), int(page.Fd()), 25)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.Limit = 50 * time.Millisecond
	for i := uint64(0); !g.Full(); i++ {
		send(t, fd, i, 60000)
	}
	start := time.Now()
	g.Wait()
	if d := time.Since(start); d < g.Limit {
		t.Errorf("open after %v, before the limit", d)
	}
	if g.Full() {
		t.Error("closed again although the reader has not moved")
	}
	_, out := memories(1)
	read(t, packet, page, out)
	g.page.done.Store(0) // as if the capture went on
	for i := uint64(0); !g.Full(); i++ {
		if i > Blocks*BlockSize/60000 {
			t.Fatal("the gate stays open after the reader has moved")
		}
		send(t, fd, i, 60000)
	}
}

func BenchmarkGate(b *testing.B) {
	page, err := NewPage()
	if err != nil {
		b.Fatal(err)
	}
	p, err := openPage(int(page.Fd()))
	if err != nil {
		b.Fatal(err)
	}
	ring := make([]byte, Blocks*BlockSize)
	g := &Gate{page: p, status: statusesOf(unsafe.Pointer(&ring[0])), blocks: Blocks / 2, waiting: backlogBlocks / 2}
	for b.Loop() {
		g.Wait()
	}
}
