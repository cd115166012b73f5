package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const marker = "SECRET-OF-THE-SESSION"

// tapFixture is a session with a frame and a secret, and a tap.
func tapFixture(t *testing.T) (s *Server, owner, tap *Bus) {
	s = startServer(t)
	owner = connect(t, s.Access(), "owner")
	for _, r := range []*bus.Record{
		{Layer: bus.Frames, Type: 1, Payload: []byte("a frame")},
		bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", Secret: []byte(marker)}, 1),
	} {
		p := openPublisher(t, owner, r.Layer, 0)
		if err := p.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s, owner, connect(t, s.TapAccess(), "tap")
}

func TestTapFollows(t *testing.T) {
	_, owner, tap := tapFixture(t)
	p := openPublisher(t, owner, bus.Frames, 0)
	n := 0
	err := tap.Follow(t.Context(), bus.Frames, 0, 0, func(m *Batch) error {
		for range m.Records() {
			n++
		}
		if m.Drained { // one record at a time, live
			r := &bus.Record{Layer: bus.Frames, Type: 1}
			if n == 4 {
				r.Type = bus.EOS
			}
			if err := p.Publish(t.Context(), r); err != nil {
				return err
			}
			return p.Flush(t.Context())
		}
		return m.Err
	})
	if err != nil || n < 5 {
		t.Fatalf("%d records: %v", n, err)
	}
}

// A tap whose stream goes away has come to the end of the session.
func TestTapOfEndedSession(t *testing.T) {
	_, owner, tap := tapFixture(t)
	err := tap.Follow(t.Context(), bus.Frames, 0, 0, func(m *Batch) error {
		if m.Drained {
			return owner.jetstream(bus.Frames).DeleteStream(t.Context(), bus.StreamName("t1", bus.Frames, 0))
		}
		return m.Err
	})
	if !errors.Is(err, ErrGone) {
		t.Errorf("the tap ended with %v", err)
	}
}

// Every way to the secrets that the protocol offers.
func TestTapCannotReadKeys(t *testing.T) {
	s, owner, tap := tapFixture(t)
	if err := tap.Follow(t.Context(), bus.Keys, 0, 0, func(*Batch) error { return nil }); err == nil {
		t.Error("a tap followed the keys")
	}
	// Access without the right to Keys says so; a forged access gets no further.
	forged := s.TapAccess()
	forged.KeysSeed = forged.Seed
	if b := connect(t, forged, "forged"); b != nil {
		c, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := b.Follow(c, bus.Keys, 0, 0, func(*Batch) error { t.Error("a batch of keys"); return nil }); err == nil {
			t.Error("a tap followed the keys by its own seed")
		}
		cancel()
	}
	nc := tap.Conn()
	var seen []string
	got := make(chan string, 1000)
	for _, subject := range []string{">", "clipper.>", "clipper.t1.keys.*", "_INBOX.>", "_INBOX_*.>", "$JS.>", "$SYS.>", "_R_.>", "*.*.*.*"} {
		nc.Subscribe(subject, func(m *nats.Msg) { got <- m.Subject + " " + string(m.Data) })
	}
	keys := bus.StreamName("t1", bus.Keys, 0)
	ask := func(subject, body string) {
		c, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		m, err := nc.RequestWithContext(c, subject, []byte(body))
		if err == nil && !strings.Contains(string(m.Data), `"error"`) && m.Header.Get("Status") == "" {
			t.Errorf("%s %s was answered: %.200s", subject, body, m.Data)
		}
	}
	secret, open := snapshotSource{bus.Plain, 0, true}, snapshotSource{bus.TCP, 0, false}
	for _, src := range []snapshotSource{secret, open} {
		snaps, err := owner.makeSnapshots(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		defer snaps.sender.close()
		if err := snaps.put(t.Context(), position{}, "", []byte(marker)); err != nil {
			t.Fatal(err)
		}
	}
	secrets := snapshotStream("t1", secret.layer, 0)
	for stream, subject := range map[string]string{
		keys:                                bus.Subject("t1", bus.Keys, 0),
		secrets:                             snapshotSubject("t1", secret),
		snapshotStream("t1", open.layer, 0): snapshotSubject("t1", open),
	} {
		ask("$JS.API.DIRECT.GET."+stream, `{"seq":2}`)
		ask("$JS.API.DIRECT.GET."+stream, `{"last_by_subj":"`+subject+`"}`)
		ask("$JS.API.DIRECT.GET."+stream+"."+subject, "")
		ask("$JS.API.STREAM.MSG.GET."+stream, `{"seq":2}`)
	}
	ask("$JS.API.STREAM.INFO."+keys, "")
	ask("$JS.API.STREAM.INFO."+secrets, "")
	for _, stream := range []string{keys, secrets, bus.StreamName("t1", bus.Frames, 0)} {
		ask("$JS.API.CONSUMER.CREATE."+stream, `{"stream_name":"`+stream+`","config":{"deliver_subject":"x","deliver_policy":"all","ack_policy":"none"}}`)
		ask("$JS.API.CONSUMER.CREATE."+stream+".c", `{"stream_name":"`+stream+`","config":{"name":"c","deliver_policy":"all","ack_policy":"none"}}`)
		ask("$JS.API.CONSUMER.DURABLE.CREATE."+stream+".c", `{"stream_name":"`+stream+`","config":{"durable_name":"c","ack_policy":"none"}}`)
		ask("$JS.API.CONSUMER.MSG.NEXT."+stream+".c", "1")
		ask("$JS.API.STREAM.SNAPSHOT."+stream, `{"deliver_subject":"x"}`)
	}
	ask("$JS.API.STREAM.CREATE.MIRROR", `{"name":"MIRROR","mirror":{"name":"`+keys+`"}}`)
	ask("$JS.API.STREAM.CREATE.SOURCE", `{"name":"SOURCE","subjects":["clipper.>"]}`)
	ask("$SYS.REQ.SERVER.PING.JSZ", `{"streams":true,"consumer":true}`)
	// Others at work meanwhile: what goes past must not be heard.
	err := owner.Follow(t.Context(), bus.Keys, 0, 0, func(m *Batch) error {
		if m.Count > 0 {
			return ErrStop
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := openPublisher(t, owner, bus.Keys, 0)
	if err := p.Publish(t.Context(), bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", Secret: []byte(marker)}, 1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for len(got) > 0 {
		seen = append(seen, <-got)
	}
	for _, m := range seen {
		if strings.Contains(m, marker) {
			t.Errorf("a tap saw %.200s", m)
		}
	}
	// The account of the other layers has no way to the keys either.
	plain := connect(t, s.Access().WithoutKeys(), "httpdec")
	for _, stream := range []string{keys, secrets} {
		if _, err := plain.main.js.Stream(t.Context(), stream); err == nil {
			t.Errorf("stream %s is visible without the right to the keys", stream)
		}
	}
	if err := plain.Follow(t.Context(), bus.Keys, 0, 0, func(*Batch) error { return nil }); err == nil {
		t.Error("the keys were followed without the right to them")
	}
}

// A tap changes nothing: neither directly nor by the subject of an answer.
func TestTapCannotWrite(t *testing.T) {
	s, owner, tap := tapFixture(t)
	count := func() (n uint64) {
		for _, l := range bus.Layers {
			for p := range l.StreamCount(1) {
				st, err := owner.jetstream(l).Stream(t.Context(), bus.StreamName("t1", l, p))
				if err != nil {
					t.Fatal(err)
				}
				n += st.CachedInfo().State.Msgs<<16 + st.CachedInfo().State.LastSeq + uint64(st.CachedInfo().State.Consumers)<<32
			}
		}
		return n
	}
	before := count()
	nc, frames := tap.Conn(), bus.StreamName("t1", bus.Frames, 0)
	for _, l := range bus.Layers {
		nc.Publish(bus.Subject("t1", l, 0), []byte("forged"))
		// an answer, sent on into a layer
		nc.PublishRequest("$JS.API.DIRECT.GET."+frames, bus.Subject("t1", l, 0), []byte(`{"seq":1}`))
		nc.PublishRequest("$JS.API.STREAM.INFO."+frames, bus.Subject("t1", l, 0), nil)
	}
	for _, subject := range []string{"PURGE", "DELETE", "UPDATE", "MSG.DELETE", "CREATE", "RESTORE", "LEADER.STEPDOWN"} {
		cfg, _ := json.Marshal(jetstream.StreamConfig{Name: frames, Subjects: []string{"clipper.>"}})
		c, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if m, err := nc.RequestWithContext(c, "$JS.API.STREAM."+subject+"."+frames, cfg); err == nil && !strings.Contains(string(m.Data), `"error"`) {
			t.Errorf("%s: %s", subject, m.Data)
		}
		cancel()
	}
	nc.Publish("clipper.t1.ctl.health.toy", []byte("forged"))
	heard := make(chan *nats.Msg, 1)
	sub, err := owner.Conn().ChanSubscribe("clipper.t1.ctl.>", heard)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	owner.Conn().Flush()
	nc.Publish("clipper.t1.ctl.restart", []byte("forged"))
	nc.Flush()
	owner.Conn().Flush()
	if len(heard) > 0 {
		t.Errorf("a tap spoke on a control subject: %s", (<-heard).Data)
	}
	if _, err := tap.OpenPublisher(t.Context(), bus.Frames, 0); err == nil {
		t.Error("a tap opened a publisher")
	}
	if after := count(); after != before {
		t.Errorf("a tap changed a stream: %x, was %x", after, before)
	}
	// Nobody without a user gets in.
	if nc, err := nats.Connect(s.Access().URL); err == nil {
		nc.Close()
		t.Error("an anonymous client connected")
	}
}
