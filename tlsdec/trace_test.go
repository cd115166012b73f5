package tlsdec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"clipper/bus"
)

// trace is what two real peers said to each other, as the stage's input.
type trace struct {
	records []bus.Record // TCP
	secrets []bus.TLSSecret
	sent    [2][]byte // plaintext that the peers exchanged
	server  uint16    // its port; 0: 443
}

const traceConn = bus.ConnID(0xc0ffee)

// recorder makes a trace of what passes through a pair of connections. Its clock
// is a counter: one millisecond a record.
type recorder struct {
	mu     sync.Mutex
	trace  trace
	offset [2]uint64
	clock  int64
}

func newRecorder() *recorder {
	r := &recorder{}
	payload, _ := json.Marshal(bus.ConnOpen{Flow: bus.Flow{Transport: "tcp",
		Client: netip.MustParseAddrPort("10.0.2.100:40000"), Server: netip.MustParseAddrPort("192.0.2.1:443")}})
	r.add(bus.Record{Type: bus.Open, Payload: payload})
	r.add(bus.Record{Type: bus.Established})
	return r
}

func (r *recorder) add(x bus.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock += 1e6
	x.Layer, x.Conn, x.Time = bus.TCP, traceConn, r.clock
	if x.Type == bus.Data {
		x.Payload = bytes.Clone(x.Payload)
		x.Offset = r.offset[x.Dir]
		r.offset[x.Dir] += uint64(len(x.Payload))
	}
	if x.Type == bus.Fin {
		x.Offset = r.offset[x.Dir]
	}
	r.trace.records = append(r.trace.records, x)
}

func (r *recorder) data(d bus.Dir, b []byte) {
	r.add(bus.Record{Type: bus.Data, Dir: d, Payload: b})
}

// end closes the connection in order and returns the trace.
func (r *recorder) end() *trace {
	r.add(bus.Record{Type: bus.Fin, Dir: bus.ClientToServer})
	r.add(bus.Record{Type: bus.Fin, Dir: bus.ServerToClient})
	payload, _ := json.Marshal(bus.ConnEnd{Reason: bus.EndFIN})
	r.add(bus.Record{Type: bus.End, Payload: payload})
	for i := range r.trace.records {
		r.trace.records[i].Pos = uint64(i + 1)
	}
	return &r.trace
}

// relay copies between two connections and records; it returns when both directions ended.
func (r *recorder) relay(client, server net.Conn) {
	var wg sync.WaitGroup
	pass := func(d bus.Dir, from, to net.Conn) {
		defer wg.Done()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				r.data(d, buf[:n])
				if _, werr := to.Write(buf[:n]); werr != nil {
					err = werr
				}
			}
			if err != nil {
				if t, ok := to.(interface{ CloseWrite() error }); ok {
					t.CloseWrite()
				}
				return
			}
		}
	}
	wg.Add(2)
	go pass(bus.ClientToServer, client, server)
	go pass(bus.ServerToClient, server, client)
	wg.Wait()
	client.Close()
	server.Close()
}

// pair is two ends of a loopback TCP connection.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		done <- c
	}()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a, <-done
}

// keyLog collects what is written to it: key log lines, or what a program says.
type keyLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.Write(b)
}

func (k *keyLog) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.String()
}

func (k *keyLog) secrets(t testing.TB) []bus.TLSSecret {
	return parseKeyLog(t, k.String())
}

// parseKeyLog reads the lines of an SSLKEYLOGFILE.
func parseKeyLog(t testing.TB, text string) (out []bus.TLSSecret) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || strings.HasPrefix(line, "#") {
			continue
		}
		random, err1 := hex.DecodeString(f[1])
		value, err2 := hex.DecodeString(f[2])
		if err1 != nil || err2 != nil {
			t.Fatalf("key log line %q", line)
		}
		out = append(out, bus.TLSSecret{Label: f[0], ClientRandom: random, Secret: value, PID: 4711,
			Executable: "/usr/bin/test", Library: "test", Mechanism: "hook"})
	}
	return out
}

// output is what a decoder gave, sorted by kind.
type output struct {
	lines    []string // every record
	records  []bus.Record
	plain    [2][]byte
	streams  uint64
	info     *bus.TLSInfo
	infos    int
	doubts   []bus.Verdict // preliminary
	verdicts []bus.Verdict // final
	fin      [2]bool
	ended    bool
	eos      bool
	problem  string
}

func (o *output) take(r *bus.Record) {
	k := *r
	k.Payload = bytes.Clone(r.Payload)
	o.records = append(o.records, k)
	o.lines = append(o.lines, fmt.Sprintf("%d conn=%x dir=%d off=%d t=%d flags=%d aux=%d %x", r.Type, uint64(r.Conn), r.Dir, r.Offset, r.Time, r.Flags, r.Aux, r.Payload))
	if r.Layer != bus.Plain {
		o.problem = "a record that is not on Plain"
	}
	switch r.Type {
	case bus.Data:
		if r.Offset != uint64(len(o.plain[r.Dir])) && r.Stream == 0 && o.streams == 0 {
			o.problem = fmt.Sprintf("dir %d: offset %d after %d bytes", r.Dir, r.Offset, len(o.plain[r.Dir]))
		}
		o.streams |= r.Stream // of QUIC: its tests look at each
		o.plain[r.Dir] = append(o.plain[r.Dir], r.Payload...)
	case bus.Gap:
		o.plain[r.Dir] = append(o.plain[r.Dir], make([]byte, r.Aux)...)
	case bus.Info:
		o.info = new(bus.TLSInfo)
		if err := json.Unmarshal(r.Payload, o.info); err != nil {
			o.problem = err.Error()
		}
		o.infos++
	case bus.Opaque:
		var v bus.Verdict
		if err := json.Unmarshal(r.Payload, &v); err != nil {
			o.problem = err.Error()
		}
		if v.Preliminary {
			o.doubts = append(o.doubts, v)
		} else {
			o.verdicts = append(o.verdicts, v)
		}
	case bus.Fin:
		o.fin[r.Dir] = true
	case bus.End:
		o.ended = true
	case bus.EOS:
		o.eos = true
	}
}

// feed is a step of a run: a TCP record or a secret.
type feeder struct {
	d   bus.Stage
	out output
}

func newFeeder() *feeder { return &feeder{d: New()} }

func (f *feeder) tcp(rs ...bus.Record) {
	for i := range rs {
		r := rs[i]
		r.Payload = bytes.Clone(r.Payload)
		f.d.Process(&r, f.out.take)
		for j := range r.Payload { // the stage may keep nothing of it
			r.Payload[j] = 0xee
		}
	}
}

func (f *feeder) keys(ks ...bus.TLSSecret) {
	for i := range ks {
		r := bus.SecretRecord(&ks[i], 0)
		f.d.Process(r, f.out.take)
		for j := range r.Payload {
			r.Payload[j] = 0xee
		}
	}
}

func (f *feeder) eos(ls ...bus.Layer) {
	for _, l := range ls {
		f.d.Process(&bus.Record{Layer: l, Type: bus.EOS, Time: 1e15}, f.out.take)
	}
}

// decode runs all of a trace: secrets first.
func decode(t testing.TB, tr *trace) *output {
	t.Helper()
	f := newFeeder()
	f.keys(tr.secrets...)
	f.tcp(tr.records...)
	f.eos(bus.TCP, bus.UDP, bus.Keys)
	f.check(t)
	return &f.out
}

func (f *feeder) check(t testing.TB) {
	t.Helper()
	if f.out.problem != "" {
		t.Error(f.out.problem)
	}
	if !f.out.eos {
		t.Error("no EOS")
	}
	if d := f.d.(*decoder); len(d.conns) != 0 || d.held != 0 || d.Low() != bus.None || len(d.waiting.byKey) != 0 || len(d.waiting.anyKey) != 0 {
		t.Errorf("left behind: %d connections, %d bytes held, low %d", len(d.conns), d.held, d.Low())
	}
}

func (o *output) wantPlain(t testing.TB, tr *trace) {
	t.Helper()
	for d := range o.plain {
		if !bytes.Equal(o.plain[d], tr.sent[d]) {
			t.Errorf("dir %d: %d bytes of plaintext, want %d; verdicts %+v", d, len(o.plain[d]), len(tr.sent[d]), o.verdicts)
		}
	}
}
