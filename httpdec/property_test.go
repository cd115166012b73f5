package httpdec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/bus"
)

func scripts(t testing.TB) map[string][]bus.Record {
	all := map[string][]bus.Record{}
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = parseScript(t, string(text))
	}
	return all
}

// cut splits each Data record into pieces of at most n bytes; random ones when
// rng is not nil.
func cut(records []bus.Record, n int, rng *rand.Rand) []bus.Record {
	var out []bus.Record
	datagrams := map[bus.ConnID]bool{}
	for _, r := range records {
		p := r.Payload
		if r.Type == bus.Open {
			datagrams[r.Conn] = bytes.Contains(p, []byte(`"udp"`))
		}
		if r.Type == bus.Info { // QUIC, whose streams may be cut
			datagrams[r.Conn] = false
		}
		if datagrams[r.Conn] {
			out = append(out, r)
			continue
		}
		for r.Type == bus.Data && len(p) > 0 {
			k := n
			if rng != nil {
				k = 1 + rng.IntN(n)
			}
			k = min(k, len(p))
			r.Payload, p = p[:k:k], p[k:]
			out = append(out, r)
			r.Offset += uint64(k)
		}
		if r.Type != bus.Data {
			out = append(out, r)
		}
	}
	return out
}

// gist is what must not depend on how the bytes were cut: all events but data,
// in order for each exchange, and the sums of those and of the body bytes. The
// order between exchanges may differ where one direction waited for the other.
func gist(t testing.TB, records []bus.Record) []string {
	var lines []string
	type key struct {
		conn   bus.ConnID
		stream uint64
		dir    bus.Dir
	}
	wire, decoded, bodies := map[key]uint64{}, map[key]uint64{}, map[key][]byte{}
	s := New()
	emit := func(r *bus.Record) {
		k := key{r.Conn, r.Stream, r.Dir}
		if r.Layer == bus.Body {
			if r.Type == bus.BodyBytes {
				if gap := int(r.Offset) - len(bodies[k]); gap > 0 {
					bodies[k] = append(bodies[k], make([]byte, gap)...)
				}
				bodies[k] = append(bodies[k], r.Payload...)
			}
			return
		}
		e := r.Event.(*bus.Event)
		if e.Type == bus.EventData {
			if e.Data.Offset != decoded[k] {
				t.Errorf("data event at %d, %d bytes were announced", e.Data.Offset, decoded[k])
			}
			wire[k] += e.Data.Wire
			decoded[k] += e.Data.Decoded
			return
		}
		if e.Type == bus.EventEnd && wire[k]+decoded[k] > 0 && (e.End.Wire != wire[k] || e.End.Decoded != decoded[k]) {
			t.Errorf("end event says %d and %d bytes, announced were %d and %d", e.End.Wire, e.End.Decoded, wire[k], decoded[k])
		}
		lines = append(lines, fmt.Sprintf("%08d.%08d %s", r.Conn, r.Stream, show(r)))
	}
	for i := range records {
		s.Process(&records[i], emit)
	}
	s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
	for k, b := range bodies {
		lines = append(lines, fmt.Sprintf("zz body %v %q", k, b))
	}
	for k := range wire {
		lines = append(lines, fmt.Sprintf("zz sizes %v %d %d", k, wire[k], decoded[k]))
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		za, zb := strings.HasPrefix(a, "zz"), strings.HasPrefix(b, "zz")
		switch {
		case za && zb:
			return strings.Compare(a, b)
		case za:
			return 1
		case zb:
			return -1
		}
		return strings.Compare(a[:17], b[:17])
	})
	return lines
}

func TestCuts(t *testing.T) {
	for name, records := range scripts(t) {
		if name == "resync.txt" {
			continue // there, the starts of records count
		}
		want := gist(t, records)
		check := func(how string, cut []bus.Record) {
			if got := gist(t, cut); !slices.Equal(got, want) {
				t.Errorf("%s cut %s: %s", name, how, firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
		}
		for _, n := range []int{1, 2, 3, 5, 9, 10, 64} {
			check(fmt.Sprintf("every %d bytes", n), cut(records, n, nil))
		}
		for seed := range uint64(30) {
			check(fmt.Sprintf("by seed %d", seed), cut(records, 40, rand.New(rand.NewPCG(seed, 0))))
		}
	}
}

// TestPrefixes ends each script after each byte: no panic, and what is open
// is closed.
func TestPrefixes(t *testing.T) {
	for name, records := range scripts(t) {
		pieces := cut(records, 1, nil)
		for n := range pieces {
			open := map[string]bool{}
			s := New()
			emit := func(r *bus.Record) {
				if r.Layer != bus.HTTP || r.Stream == 0 {
					return
				}
				e := r.Event.(*bus.Event)
				k := fmt.Sprint(e.Conn, ".", e.Stream)
				switch e.Type {
				case bus.EventRequest, bus.EventResponse:
					open[k+" response"] = true
				case bus.EventFailed:
					delete(open, k+" response")
				case bus.EventEnd:
					if e.Dir == bus.ServerToClient {
						delete(open, k+" response")
					}
				}
			}
			for i := range pieces[:n] {
				s.Process(&pieces[i], emit)
			}
			s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
			if len(open) > 0 {
				t.Fatalf("%s after %d records: left open: %v", name, n, open)
			}
		}
	}
}

// TestReplay restarts the decoder at random places from Low, mutes what was
// published, and wants the rest to be the same.
func TestReplay(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var queues [][]bus.Record
		for range 2 {
			all := scripts(t)
			names := make([]string, 0, len(all))
			for name := range all {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				queues = append(queues, cut(all[name], 60, rng))
			}
		}
		var records []bus.Record
		alive := slices.Clone(queues)
		ids := map[int]bus.ConnID{}
		for i := range alive {
			ids[i] = bus.ConnID(i*100 + 1)
		}
		for started := 3; len(alive) > 0; {
			i := rng.IntN(len(alive))
			if i >= started { // few at once, so that Low moves
				i = rng.IntN(min(started, len(alive)))
			}
			q := i
			for range 1 + rng.IntN(4) {
				if len(queues[q]) == 0 {
					break
				}
				r := queues[q][0]
				queues[q] = queues[q][1:]
				r.Conn += ids[q]
				records = append(records, r)
			}
			done := true
			for k := range queues {
				if len(queues[k]) > 0 {
					done = false
				}
			}
			if done {
				break
			}
			if len(queues[q]) == 0 && started < len(alive) {
				started++
			}
		}
		for i := range records {
			records[i].Pos = uint64(i/3 + 1) // three records a message
		}
		var out []string
		at := make([]int, len(records)+1) // lines after so many records
		low := make([]uint64, len(records)+1)
		s := New()
		low[0] = bus.None
		for i := range records {
			s.Process(&records[i], func(r *bus.Record) { out = append(out, show(r)) })
			at[i+1], low[i+1] = len(out), s.Low()
		}
		s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, func(r *bus.Record) { out = append(out, show(r)) })
		for range 30 {
			k := rng.IntN(len(records)/3) * 3 // restart after whole messages
			from := min(low[k], uint64(k/3+1))
			s := New()
			var again []string
			for i := range records {
				if records[i].Pos < from {
					continue
				}
				s.Process(&records[i], func(r *bus.Record) {
					if i >= k {
						again = append(again, show(r))
					}
				})
			}
			s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, func(r *bus.Record) { again = append(again, show(r)) })
			if want := out[at[k]:]; !slices.Equal(again, want) {
				t.Fatalf("seed %d, restart after record %d from message %d: %s", seed, k, from,
					firstDifference(strings.Join(again, "\n"), strings.Join(want, "\n")))
			}
		}
	}
}

func FuzzConnection(f *testing.F) {
	for _, records := range scripts(f) {
		var b []byte
		for _, r := range records {
			if r.Type == bus.Data && len(r.Payload) < 1<<12 {
				b = append(b, byte(r.Dir), byte(len(r.Payload)>>8), byte(len(r.Payload)))
				b = append(b, r.Payload...)
			}
		}
		f.Add(b, uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		records := parseScript(t, "open\nestablished")
		for len(b) > 3 {
			k := min(int(b[1])<<8|int(b[2]), len(b)-3)
			r := bus.Record{Layer: bus.Plain, Type: bus.Data, Dir: bus.Dir(b[0] & 1), Conn: 1, Payload: b[3 : 3+k]}
			switch b[0] >> 1 {
			case 120:
				r.Type, r.Aux, r.Payload = bus.Gap, uint32(k), nil
			case 121:
				r.Type, r.Payload = bus.Fin, nil
			}
			records = append(records, r)
			b = b[3+k:]
		}
		lost := slices.ContainsFunc(records, func(r bus.Record) bool { return r.Type == bus.Gap })
		records = append(records, bus.Record{Layer: bus.Plain, Type: bus.End, Conn: 1, Payload: []byte(`{"reason":"fin"}`)})
		want := gist(t, records)
		if got := gist(t, cut(records, int(n)+1, nil)); !lost && !slices.Equal(got, want) {
			t.Errorf("cut every %d bytes: %s", n+1, firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	})
}

// FuzzDNS reads hostile messages of both sides: no panic, no hang, and what is
// open is given up at the end.
func FuzzDNS(f *testing.F) {
	for _, r := range scripts(f)["dns.txt"] {
		if r.Type == bus.Data {
			f.Add(r.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		records := parseScript(t, "open udp server=10.0.2.3:53\nask 1 A a.test.")
		records = append(records, bus.Record{Layer: bus.Plain, Type: bus.Data, Conn: 1, Dir: 1, Payload: b}, bus.Record{Layer: bus.Plain, Type: bus.Data, Conn: 1, Payload: b})
		run(t, records)
	})
}

// FuzzHTTP3 feeds streams of QUIC. A decoder that is restarted from a snapshot after
// each record says the same.
func FuzzHTTP3(f *testing.F) {
	for name, records := range scripts(f) {
		if name != "h3.txt" {
			continue
		}
		var b []byte
		for _, r := range records {
			if r.Type == bus.End {
				f.Add(b)
				b = nil
			}
			op := byte(r.Stream&15) | byte(r.Dir)<<4
			switch r.Type {
			case bus.Data:
				b = append(append(b, op, byte(len(r.Payload))), r.Payload...)
			case bus.Gap:
				b = append(b, op|1<<5, byte(r.Aux))
			case bus.Fin:
				b = append(b, op|2<<5, 0)
			case bus.Reset:
				b = append(b, op|3<<5, byte(r.Aux))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		records := parseScript(t, "open udp\ntls h3 a.test")
		at := records[0].Time
		over := map[halfID]bool{} // nothing follows the end of a stream
		for len(b) >= 2 {
			op, n := b[0], int(b[1])
			r := bus.Record{Layer: bus.Plain, Type: []bus.Type{bus.Data, bus.Gap, bus.Fin, bus.Reset}[op>>5&3], Conn: records[0].Conn,
				Dir: bus.Dir(op >> 4 & 1), Stream: uint64(op & 15), Aux: uint32(n), Time: at, Pos: uint64(len(records) + 1)}
			if b = b[2:]; r.Type == bus.Data {
				n = min(n, len(b))
				r.Payload, b = b[:n:n], b[n:]
			}
			if r.Type == bus.Reset && n == 255 {
				r.Stream = bus.AllStreams
			}
			if id := (halfID{r.Stream, r.Dir}); !over[id] {
				records = append(records, r)
				over[id] = r.Type == bus.Fin || r.Type == bus.Reset
			}
		}
		want := run(t, records)
		if got := runRestarted(t, records, func() bool { return true }); !slices.Equal(got, want) {
			t.Errorf("restarted: %s", firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
		if got, want := gist(t, cut(records, 1, nil)), gist(t, records); !slices.Equal(got, want) {
			t.Errorf("cut: %s", firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	})
}
