package natsbus

import (
	"errors"
	"strings"
	"testing"

	"clipper/bus"
	"github.com/nats-io/nats-server/v2/server"
)

// A server that is not Clipper's: the session makes its streams and removes them.
func TestOtherServer(t *testing.T) {
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer func() { ns.Shutdown(); ns.WaitForShutdown() }()
	if !ns.ReadyForConnections(connectTime) {
		t.Fatal("not ready")
	}
	a := Access{URL: ns.ClientURL(), Session: "t1", Partitions: 2}
	b := connect(t, a, "test")
	if err := b.CreateStreams(t.Context(), StreamConfig{StreamBytes: 1 << 20}); err == nil {
		t.Error("streams too small for a batch were made")
	}
	if err := b.CreateStreams(t.Context(), StreamConfig{StreamBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateStreams(t.Context(), StreamConfig{StreamBytes: 8 << 20}); err != nil {
		t.Fatalf("again: %v", err)
	}
	p := openPublisher(t, b, bus.UDP, 1)
	// As large as a batch can be, under the max_payload of 1 MiB that NATS has.
	r := &bus.Record{Layer: bus.UDP, Type: bus.Data, Payload: make([]byte, maxPart)}
	if err := p.Publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), &bus.Record{Layer: bus.UDP, Type: bus.EOS}); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := b.Follow(t.Context(), bus.UDP, 1, 0, func(m *Batch) error {
		for r := range m.Records() {
			n += len(r.Payload)
		}
		return m.Err
	}); err != nil || n != maxPart {
		t.Fatalf("%d bytes: %v", n, err)
	}
	if _, err := b.OpenPublisher(t.Context(), bus.Keys, 0); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("keys without KeysCreds: %v", err)
	}
	if err := b.DeleteStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := 0
	for range b.main.js.StreamNames(t.Context()).Name() {
		names++
	}
	if names > 0 {
		t.Errorf("%d streams are left", names)
	}
	if err := b.DeleteStreams(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	o.MaxPayload = 1 << 16
	if err := ns.ReloadOptions(o); err == nil {
		if _, err := Connect(t.Context(), a, "test"); err == nil || errors.Is(err, errClosed) || !strings.Contains(err.Error(), "max_payload") {
			t.Errorf("a small max_payload: %v", err)
		}
	}
}
