package pcapng

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"clipper/bus"
)

// order tells the order of frames (f) and secrets (s) in a file.
func order(t *testing.T, file []byte) string {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return s.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Layer == bus.Keys {
			s.WriteByte('s')
		} else {
			s.WriteByte('f')
		}
	}
}

// hellos is a conversation up to the ServerHello: five frames.
func hellos() (*conversation, []byte) {
	c := &conversation{now: 1e9}
	random := bytes.Repeat([]byte{7}, 32)
	c.segment(0, syn, nil)
	c.segment(1, syn|ack, nil)
	c.segment(0, ack, nil)
	c.segment(0, psh|ack, append([]byte{22, 3, 1, 0, 38, 1, 0, 0, 34, 3, 3}, random...))
	c.segment(1, psh|ack, []byte{22, 3, 3, 0, 38, 2, 0, 0, 34, 3, 3})
	return c, random
}

func secretRecord(label string, random []byte) *bus.Record {
	return bus.SecretRecord(&bus.TLSSecret{Label: label, ClientRandom: random, Secret: make([]byte, 32)}, 0)
}

func TestHold(t *testing.T) {
	other := bytes.Repeat([]byte{9}, 32)
	for _, c := range []struct {
		name string
		more func(c *conversation, random []byte) []*bus.Record
		want string
	}{
		{"TLS 1.2", func(c *conversation, random []byte) []*bus.Record {
			return []*bus.Record{secretRecord("CLIENT_RANDOM", random)}
		}, "ffffsf"},
		{"TLS 1.3", func(c *conversation, random []byte) []*bus.Record {
			return []*bus.Record{secretRecord("CLIENT_HANDSHAKE_TRAFFIC_SECRET", random), secretRecord("CLIENT_TRAFFIC_SECRET_0", random),
				secretRecord("SERVER_TRAFFIC_SECRET_0", random)}
		}, "ffffsssf"},
		{"secret of another connection", func(c *conversation, random []byte) []*bus.Record {
			c.segment(0, ack, nil)
			return append(c.records[5:], secretRecord("CLIENT_RANDOM", other))
		}, "ffffsff"}, // by Close
		{"too late", func(c *conversation, random []byte) []*bus.Record {
			c.now += secretsTime
			c.segment(0, ack, nil)
			return append(c.records[5:], secretRecord("CLIENT_RANDOM", random))
		}, "ffffffs"},
		{"too much", func(c *conversation, random []byte) []*bus.Record {
			for range holdBytes/60000 + 1 {
				c.segment(0, ack, make([]byte, 60000))
			}
			return append(c.records[5:], secretRecord("CLIENT_RANDOM", random))
		}, "fffff" + strings.Repeat("f", holdBytes/60000+1) + "s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conv, random := hellos()
			first := conv.records
			records := append(first[:5:5], c.more(conv, random)...)
			var out bytes.Buffer
			w, err := NewWriter(&out, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := order(t, out.Bytes()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// The process of a connection becomes known after its first packets, too.
func TestHoldForProcess(t *testing.T) {
	event := &bus.Record{Layer: bus.Proc, Type: bus.Line, Event: &bus.ProcEvent{Type: bus.ProcSocket, PID: 4711, Transport: "tcp", Local: client, Remote: server}}
	for _, c := range []struct {
		name   string
		before int64 // ns of packet time to the event
		want   string
	}{{"in time", processTime - 1e6, "exec socket frame frame frame frame "}, {"too late", processTime, "frame frame frame exec socket frame "}} {
		conv := &conversation{now: 1e9}
		conv.segment(0, syn, nil)
		conv.segment(1, syn|ack, nil)
		conv.now += c.before - 2e6
		conv.segment(0, ack, nil)
		conv.segment(0, psh|ack, []byte("data"))
		records := append(append(conv.records[:3:3], event), conv.records[3:]...)
		b, err := os.ReadFile(write(t, Options{Directed: true}, records))
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for line := range strings.Lines(list(bytes.NewReader(b))) {
			if word, _, ok := strings.Cut(line, " "); ok && (word == "exec" || word == "socket" || word == "frame") {
				got.WriteString(word + " ")
			}
		}
		if got.String() != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got.String(), c.want)
		}
	}
}

// Flush makes the file complete, whatever waits.
func TestFlush(t *testing.T) {
	conv, random := hellos()
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range conv.records {
		w.Write(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := order(t, out.Bytes()); got != "fffff" {
		t.Errorf("after Flush: %s", got)
	}
	w.Write(secretRecord("CLIENT_RANDOM", random))
	w.Flush()
	if got := order(t, out.Bytes()); got != "fffffs" {
		t.Errorf("after the secret: %s", got)
	}
}

// chunks notes where the writes end.
type chunks struct {
	bytes.Buffer
	ends []int
}

func (c *chunks) Write(b []byte) (int, error) {
	n, err := c.Buffer.Write(b)
	c.ends = append(c.ends, c.Len())
	return n, err
}

// After each write, the file is whole.
func TestOnlyWholeBlocksAreWritten(t *testing.T) {
	conv, _ := hellos()
	var out chunks
	w, err := NewWriter(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		conv.segment(i%2, ack, make([]byte, i))
	}
	for _, r := range conv.records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if len(out.ends) < 10 {
		t.Fatalf("only %d writes", len(out.ends))
	}
	frames := 0
	for _, end := range out.ends {
		frames = len(order(t, out.Bytes()[:end])) // fails on damage
	}
	if frames != len(conv.records) {
		t.Errorf("%d frames of %d", frames, len(conv.records))
	}
}

// What the Writer tells of processes, losses and directions, the Reader tells
// again.
func TestFactsRoundTrip(t *testing.T) {
	conv, _ := hellos()
	remote := netip.AddrPortFrom(netip.AddrFrom16(server.Addr().As16()), server.Port()) // as a dual-stack socket has it
	records := append([]*bus.Record{
		{Layer: bus.Proc, Event: &bus.ProcEvent{Type: bus.ProcExec, PID: 4711, Exe: "/usr/bin/curl"}},
		{Layer: bus.Proc, Event: &bus.ProcEvent{Type: bus.ProcSocket, PID: 4711, Transport: "tcp", Local: client, Remote: remote}},
	}, conv.records[:2]...)
	records = append(records, &bus.Record{Layer: bus.Frames, Type: bus.Dropped, Aux: 3}, conv.records[2],
		&bus.Record{Layer: bus.Proc, Event: &bus.ProcEvent{Type: bus.ProcExec, PID: 4711, Exe: "/bin/other"}}, conv.records[3],
		&bus.Record{Layer: bus.Frames, Type: bus.Dropped, Aux: 9}, &bus.Record{Layer: bus.Frames, Type: bus.EOS})
	b, err := os.ReadFile(write(t, Options{Directed: true}, records))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "facts.golden", list(bytes.NewReader(b)))
}

// Wireshark takes the secrets out again as they were put in.
func TestSecretsForWireshark(t *testing.T) {
	tool(t, "tshark")
	records := talk(t, tls.VersionTLS13)
	name := write(t, Options{}, records)
	want := map[string]bool{}
	for _, r := range records {
		if r.Layer == bus.Keys {
			s, _ := bus.ParseSecret(r)
			want[s.KeyLogLine()] = true
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range want {
		if !bytes.Contains(b, []byte(line+"\n")) {
			t.Errorf("no %s", line)
		}
	}
	if out, err := exec.Command("capinfos", name).CombinedOutput(); err != nil || bytes.Contains(out, []byte("ut short")) {
		t.Errorf("capinfos: %v %s", err, out)
	}
}
