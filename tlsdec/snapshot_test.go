package tlsdec

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"clipper/bus"
)

// script is the input of a run in order: secrets before the records they stand at.
type script struct {
	records []bus.Record
	secrets map[int][]bus.TLSSecret // by the number of records before them
}

// play feeds records from to to, with the secrets that stand before each.
func (s *script) play(f *feeder, from, to int) {
	for i := from; i < to; i++ {
		f.keys(s.secrets[i]...)
		f.tcp(s.records[i])
	}
}

// resumed feeds everything and restores the state into a new stage at each of cuts.
func (s *script) resumed(t testing.TB, cuts []int) *feeder {
	t.Helper()
	f := newFeeder()
	last := 0
	for _, cut := range cuts {
		s.play(f, last, cut)
		last = cut
		state := f.d.(bus.Snapshotter).AppendSnapshot([]byte("front"))[5:]
		g := newFeeder()
		for at := range cut + 1 {
			if at < cut {
				g.keys(s.secrets[at]...)
			}
		}
		if err := g.d.(bus.Snapshotter).Restore(state, uint64(cut+1)); err != nil {
			t.Fatalf("at %d: %v", cut, err)
		}
		if again := g.d.(bus.Snapshotter).AppendSnapshot(nil); !bytes.Equal(again, state) {
			t.Fatalf("at %d: the restored state is another", cut)
		}
		if a, b := f.d.(*decoder), g.d.(*decoder); a.held != b.held || a.partly != b.partly || (a.Low() == bus.None) != (b.Low() == bus.None) || b.Low() < uint64(cut+1) {
			t.Fatalf("at %d: %d bytes held, restored %d; low %d, restored %d", cut, a.held, b.held, a.Low(), b.Low())
		}
		f.d = g.d
	}
	s.play(f, last, len(s.records))
	f.keys(s.secrets[len(s.records)]...)
	f.eos(bus.TCP, bus.UDP, bus.Keys)
	return f
}

// check compares runs that are interrupted after every record, and at a few points, with
// one that is not.
func (s *script) check(t testing.TB) {
	t.Helper()
	want := s.resumed(t, nil)
	every := len(s.records)/60 + 1
	var cuts []int
	for i := 0; i <= len(s.records); i += every {
		cuts = append(cuts, i)
	}
	runs := [][]int{cuts}
	for i := 1; i < len(cuts); i += len(cuts)/6 + 1 {
		runs = append(runs, cuts[i:i+1])
	}
	for _, cuts := range runs {
		if got := s.resumed(t, cuts); !slices.Equal(got.out.lines, want.out.lines) {
			t.Fatalf("interrupted at %v: output differs\n%s", cuts, firstDifference(got.out.lines, want.out.lines))
		}
	}
}

func scripts(tr *trace) map[string]*script {
	n := len(tr.records)
	m := map[string]*script{
		"first":  {tr.records, map[int][]bus.TLSSecret{0: tr.secrets}},
		"last":   {tr.records, map[int][]bus.TLSSecret{n: tr.secrets}},
		"never":  {tr.records, nil},
		"middle": {tr.records, map[int][]bus.TLSSecret{n * 2 / 3: tr.secrets}},
		"1 byte": {rechunk(tr.records[:min(n, 8)], func() int { return 61 }), map[int][]bus.TLSSecret{0: tr.secrets}},
	}
	if len(tr.secrets) > 1 {
		m["halves"] = &script{tr.records, map[int][]bus.TLSSecret{n / 3: tr.secrets[:len(tr.secrets)/2], n - 1: tr.secrets[len(tr.secrets)/2:]}}
	}
	return m
}

func TestSnapshot(t *testing.T) {
	all := withQUIC(t, traces(t))
	for _, p := range []parameters{
		{version: versionSSL3, suite: newSuite(0x0a)},
		{version: versionTLS10, suite: newSuite(0x05)},
		{version: versionTLS10, suite: newSuite(0x08)},
		{version: versionTLS10, suite: newSuite(0x2f), compression: compressionDeflate},
		{version: versionTLS12, suite: newSuite(0x2f), encryptThenMAC: true, compression: compressionDeflate},
	} {
		all[versionName(p.version)+" "+p.suite.name] = syntheticTrace(t, p, false)
	}
	all["SSL 2's ClientHello"] = syntheticTrace(t, parameters{version: versionTLS10, suite: newSuite(0x2f)}, true)
	resumption := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(4), MaxVersion: tls.VersionTLS12}
	server := &tls.Config{}
	first := goTrace(t, talk{client: resumption, server: server, up: text(10, 1), down: text(300, 2)})
	second := goTrace(t, talk{client: resumption, server: server, up: text(10, 1), down: text(300, 2)})
	all["resumed"] = &trace{records: append(renamed(second.records, 2), renamed(first.records, 1)...), secrets: first.secrets}
	retry := &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}
	all["hello retry"] = goTrace(t, talk{client: retry, server: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, up: text(10, 1), down: text(3000, 2)})
	loss, _ := lossy(rechunk(joined(all["TLS 1.3"].records), func() int { return 700 }), func(i int) bool { return i == 9 || i == 30 })
	all["loss"] = &trace{records: loss, secrets: all["TLS 1.3"].secrets}
	for name, tr := range all {
		for when, s := range scripts(tr) {
			t.Run(name+" "+when, func(t *testing.T) { s.check(t) })
		}
	}
	if s := startOpenSSL(t, "-client_renegotiation"); s.addr != "" {
		for _, args := range [][]string{{"-tls1_3"}, {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"}} {
			change := "R"
			if args[0] == "-tls1_3" {
				change = "K"
			}
			tr, err := s.ask(t, []string{"one", change, "two", change, "three"}, args...)
			if err != nil {
				t.Fatal(err)
			}
			for when, s := range scripts(tr) {
				t.Run("rekeying "+args[0]+" "+when, func(t *testing.T) { s.check(t) })
			}
		}
	}
}

// TestSnapshotCorpus: the same with captures that nobody here made.
func TestSnapshotCorpus(t *testing.T) {
	files := corpusFiles(t)
	for _, path := range files {
		rs, _ := captureRecords(t, path)
		if len(rs) > 4000 {
			rs = rs[:4000]
		}
		t.Run(filepath.Base(path), func(t *testing.T) { (&script{records: rs}).check(t) })
	}
}

func TestDamagedSnapshot(t *testing.T) {
	tr := traces(t)["TLS 1.3"]
	f := newFeeder()
	f.keys(tr.secrets...)
	f.tcp(tr.records[:len(tr.records)-4]...)
	state := f.d.(bus.Snapshotter).AppendSnapshot(nil)
	restore := func(b []byte) error { return New().(bus.Snapshotter).Restore(b, 1) }
	if err := restore(state); err != nil {
		t.Fatal(err)
	}
	for n := range state {
		if restore(state[:n]) == nil {
			t.Fatalf("%d of %d bytes are enough", n, len(state))
		}
		if n < len(state)-crc32.Size && restore(sealed(state[:n])) == nil {
			t.Fatalf("%d of %d bytes with a checksum are enough", n, len(state))
		}
		bad := bytes.Clone(state)
		bad[n] ^= 4
		if restore(bad) == nil {
			t.Fatalf("byte %d may be changed", n)
		}
	}
}

// sealed gives b the checksum of a snapshot.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// FuzzRestore: whatever a snapshot holds, the stage neither panics nor hangs, and lets go
// of all it held at the end.
func FuzzRestore(f *testing.F) {
	tr := goTrace(f, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(300, 1), down: text(3000, 2)})
	old := syntheticTrace(f, parameters{version: versionTLS10, suite: newSuite(0x2f), compression: compressionDeflate}, false)
	for _, tr := range []*trace{tr, old} {
		for _, keys := range [][]bus.TLSSecret{nil, tr.secrets} {
			for _, n := range []int{1, 3, 4, 6, 8} {
				g := newFeeder()
				g.keys(keys...)
				g.tcp(tr.records[:min(n, len(tr.records))]...)
				state := g.d.(bus.Snapshotter).AppendSnapshot(nil)
				f.Add(state[len(snapshotFormat) : len(state)-crc32.Size])
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newFeeder()
		if g.d.(bus.Snapshotter).Restore(sealed(append([]byte(snapshotFormat), b...)), 1) != nil {
			return
		}
		g.keys(tr.secrets...)
		for _, r := range tr.records {
			if r.Type != bus.Open {
				g.tcp(r)
			}
		}
		g.eos(bus.Keys, bus.TCP, bus.UDP)
		g.out.problem = "" // offsets are what the snapshot says
		g.check(t)
	})
}

// fill sets all that can be set below v, unexported fields too, but not those named.
func fill(v reflect.Value, n *uint64, but ...string) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); !slices.Contains(but, f.Name) {
				fill(reflect.NewAt(f.Type, unsafe.Pointer(v.Field(i).UnsafeAddr())).Elem(), n, but...)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, but...)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, but...)
		}
	case reflect.String:
		v.SetString(fmt.Sprint(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	default:
		v.SetUint(1)
	}
}

// TestSnapshotHasEverything: every field of a connection comes back, but for those that
// other values give.
func TestSnapshotHasEverything(t *testing.T) {
	x := &codec{}
	var n uint64
	c := &conn{d: New().(*decoder)}
	fill(reflect.ValueOf(c).Elem(), &n, "d", "mark", "prev", "next", "depth", "inner", "udp", "held", "partly", "waiter", "fresh", // of the conn
		"open", "quic", "half", "tls", "Event", "Dir")
	c.tls = new(session)
	fill(reflect.ValueOf(c.tls).Elem(), &n, "suite", "Dir", "Code", "pid")
	c.tls.suite = newSuite(0x1301)
	for i := range c.half {
		h := &c.half[i]
		fill(reflect.ValueOf(h).Elem(), &n, "dir", "prot", "suite", "Event", "Dir")
		h.dir, h.suite, h.params.suite = bus.Dir(i), newSuite(0x1301), newSuite(0x2f)
	}
	c.code(x)
	back := &conn{d: New().(*decoder)}
	y := &codec{b: x.b, restoring: true}
	if back.code(y); y.failed || len(y.b) > 0 {
		t.Fatal("not restored")
	}
	c.held, c.partly = back.held, back.partly
	want, got := fmt.Sprintf("%+v", printable(c)), fmt.Sprintf("%+v", printable(back))
	if got != want {
		t.Errorf("restored\n%s\nwant\n%s", got, want)
	}
}

// printable is a connection without pointers.
func printable(c *conn) []any {
	flat := *c
	flat.d, flat.tls, flat.unread, flat.waiter, flat.spilled.end, flat.reading.end = nil, nil, nil, nil, nil, nil
	session := *c.tls
	session.hello, session.server, session.suite, session.info.Alert = nil, nil, nil, nil
	var list []any
	for i := range flat.half {
		h := &flat.half[i]
		list = append(list, h.suite.id, h.params.suite.id)
		h.suite, h.params.suite = nil, nil
	}
	return append(list, flat, session, *c.tls.hello, *c.tls.server, *c.tls.info.Alert, *c.unread, *c.spilled.end, *c.reading.end)
}
