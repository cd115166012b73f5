package har_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
)

// memory is a file that keeps each of its writes.
type memory struct {
	b      []byte
	writes []func(m *memory, n int) // writes the first n bytes of it
	sizes  []int
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	p = bytes.Clone(p)
	m.writes = append(m.writes, func(m *memory, n int) { m.put(p[:n], at) })
	m.sizes = append(m.sizes, len(p))
	m.put(p, at)
	return len(p), nil
}

func (m *memory) put(p []byte, at int64) {
	if grow := int(at) + len(p) - len(m.b); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	copy(m.b[at:], p)
}

func (m *memory) Truncate(size int64) error {
	m.writes = append(m.writes, func(m *memory, _ int) { m.b = m.b[:size] })
	m.sizes = append(m.sizes, 0)
	m.b = m.b[:size]
	return nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, at) }

// TestRepair cuts the writing of a file at each byte: what was whole before is there
// afterwards, at most the entry or the verdict in hand is missing.
func TestRepair(t *testing.T) {
	var all memory
	w, err := har.NewWriter(&all, bodies{"a\"]}}\n{", 9000}, har.Options{Version: "1"}) // a body goes over more than one write
	if err != nil {
		t.Fatal(err)
	}
	type state struct{ writes, entries, verdicts int }
	states := []state{{len(all.writes), 0, 0}}
	entries, verdicts := 0, 0
	note := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state{len(all.writes), entries, verdicts})
	}
	add := func(size uint64) {
		entries++
		note(w.Exchange(answered(uint64(entries), size)))
	}
	verdict := func(conn int, reason string) {
		note(w.Verdict(&exchange.Verdict{Conn: bus.ConnID(conn), Verdict: bus.Verdict{Code: "x", Reason: reason}}))
	}
	add(0)
	verdicts = 1
	verdict(1, "a reason ]}} of one\n{")
	verdicts = 2
	verdict(2, "another")
	add(0)
	verdict(1, "short")
	add(63000)
	add(0)
	whole := states[0]
	for i := whole.writes; i < len(all.writes); i++ {
		for len(states) > 1 && states[1].writes <= i {
			states = states[1:]
			whole = states[0]
		}
		step := max(1, all.sizes[i]/700) // of the long writes of a body, not each byte
		for n := 0; n <= all.sizes[i]; n += step {
			cut := &memory{}
			for k := range i {
				all.writes[k](cut, all.sizes[k])
			}
			all.writes[i](cut, n)
			before := bytes.Clone(cut.b)
			if err := har.Repair(cut, int64(len(cut.b))); err != nil {
				t.Fatalf("write %d cut at %d: %v\n%s", i, n, err, before)
			}
			var f har.File
			if err := json.Unmarshal(cut.b, &f); err != nil {
				t.Fatalf("write %d cut at %d: %v\n%s\nwas\n%s", i, n, err, cut.b, before)
			}
			if got := len(f.Log.Entries); got < whole.entries {
				t.Fatalf("write %d cut at %d: %d entries, %d were whole", i, n, got, whole.entries)
			}
			again := bytes.Clone(cut.b)
			if err := har.Repair(cut, int64(len(cut.b))); err != nil || !bytes.Equal(cut.b, again) {
				t.Fatalf("write %d cut at %d: repaired again it changes", i, n)
			}
		}
	}
}

// TestRepairKeepsWhatIsWhole: neither a whole file nor one of others is touched.
func TestRepairKeepsWhatIsWhole(t *testing.T) {
	var m memory
	w, err := har.NewWriter(&m, nil, har.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Exchange(answered(uint64(i), 0)); err != nil {
			t.Fatal(err)
		}
		if err := w.Verdict(&exchange.Verdict{Conn: bus.ConnID(i), Verdict: bus.Verdict{Code: "x", Reason: fmt.Sprint("]}}", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	before := bytes.Clone(m.b)
	if err := har.Repair(&m, int64(len(m.b))); err != nil || !bytes.Equal(m.b, before) {
		t.Errorf("%v: changed to %s", err, m.b)
	}
	for _, text := range []string{"", "{", `{"log":{"version":"1.2","creator":{"name":"other","version":""},"entries":[`} {
		m := &memory{b: []byte(text)}
		if err := har.Repair(m, int64(len(text))); !errors.Is(err, har.ErrForeign) || string(m.b) != text {
			t.Errorf("%q: %v, %q", text, err, m.b)
		}
	}
}

func TestRepairLines(t *testing.T) {
	for text, want := range map[string]string{"": "", "{}\n": "{}\n", "{}\n{\"a": "{}\n", "{\"a": ""} {
		m := &memory{b: []byte(text)}
		if err := har.RepairLines(m, int64(len(text))); err != nil || string(m.b) != want {
			t.Errorf("%q: %v, %q", text, err, m.b)
		}
	}
}

func FuzzRepair(f *testing.F) {
	f.Add([]byte("\n{}\n],\"_verdicts\":[{}]}}\n"))
	f.Add([]byte("\n{},\n{\"a\n],"))
	f.Fuzz(func(t *testing.T, rest []byte) {
		m := &memory{b: append([]byte(`{"log":{"version":"1.2","creator":{"name":"Clipper","version":""},"entries":[`), rest...)}
		if err := har.Repair(m, int64(len(m.b))); err != nil {
			t.Fatal(err)
		}
		again := bytes.Clone(m.b)
		if err := har.Repair(m, int64(len(m.b))); err != nil || !bytes.Equal(m.b, again) {
			t.Errorf("repaired again, %q becomes %q: %v", again, m.b, err)
		}
	})
}
