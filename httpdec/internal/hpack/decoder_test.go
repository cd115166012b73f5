package hpack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

// encoder writes sections as x/net does.
type encoder struct {
	*hpack.Encoder
	b bytes.Buffer
}

func newEncoder() *encoder {
	e := &encoder{}
	e.Encoder = hpack.NewEncoder(&e.b)
	return e
}

func (e *encoder) section(fields ...string) []byte {
	e.b.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		e.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return bytes.Clone(e.b.Bytes())
}

// decode decodes a section in pieces of n bytes.
func decode(d *Decoder, b []byte, n int) (fields []string, err error) {
	emit := func(f bus.Field) { fields = append(fields, f.Name+"="+f.Value) }
	for len(b) > 0 {
		k := min(n, len(b))
		if err = d.Write(b[:k], emit); err != nil {
			return fields, err
		}
		b = b[k:]
	}
	return fields, d.End()
}

// traffic is sections that use the table in all ways.
func traffic(e *encoder) (sections [][]byte, want [][]string) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		fields := []string{":method=GET", ":path=/", fmt.Sprintf(":authority=host-%d", rng.IntN(4))}
		for range rng.IntN(6) {
			fields = append(fields, fmt.Sprintf("x-%d=%s", rng.IntN(20), strings.Repeat("v", rng.IntN(300))))
		}
		switch {
		case i == 100:
			e.SetMaxDynamicTableSize(500)
		case i == 200:
			e.SetMaxDynamicTableSize(0)
			e.SetMaxDynamicTableSize(4096)
		}
		sections, want = append(sections, e.section(fields...)), append(want, fields)
	}
	return sections, want
}

func TestDecode(t *testing.T) {
	sections, want := traffic(newEncoder())
	for _, n := range []int{1, 2, 7, 1 << 20} {
		d := New(false)
		for i, b := range sections {
			if got, err := decode(d, b, n); err != nil || !slices.Equal(got, want[i]) {
				t.Fatalf("section %d by %d: %q, %v; want %q", i, n, got, err, want[i])
			}
		}
	}
}

// TestPartial begins in the middle: what is known is right, what isn't is marked.
func TestPartial(t *testing.T) {
	sections, want := traffic(newEncoder())
	for from := range 300 {
		d := New(true)
		unknown := 0
		for i := from; i < len(sections); i++ {
			got, err := decode(d, sections[i], 1<<20)
			if err != nil || len(got) != len(want[i]) {
				t.Fatalf("from %d, section %d: %q, %v", from, i, got, err)
			}
			for k, f := range got {
				name, value, _ := strings.Cut(f, "=")
				wantName, wantValue, _ := strings.Cut(want[i][k], "=")
				if name == bus.NotCaptured {
					unknown++
				} else if name != wantName {
					t.Fatalf("from %d, section %d: %q, want %q", from, i, f, want[i][k])
				}
				if value != wantValue && value != bus.NotCaptured {
					t.Fatalf("from %d, section %d: %q, want %q", from, i, f, want[i][k])
				}
			}
			if i >= 200 && unknown > 0 && from < 200 { // the table was emptied there
				unknown = 0
			} else if i > 200 && unknown > 0 && from <= 200 {
				t.Fatalf("from %d, section %d: fields are unknown after the table was emptied", from, i)
			}
		}
	}
}

func TestSnapshot(t *testing.T) {
	sections, want := traffic(newEncoder())
	d := New(false)
	for i, b := range sections {
		var got []string
		emit := func(f bus.Field) { got = append(got, f.Name+"="+f.Value) }
		if err := d.Write(b[:len(b)/2], emit); err != nil {
			t.Fatal(err)
		}
		w := snapshot.Append(nil)
		d.Snapshot(w)
		r := snapshot.Read(w.Written())
		d = &Decoder{}
		if d.Snapshot(r); r.Done() != nil {
			t.Fatal(r.Done())
		}
		err := d.Write(b[len(b)/2:], emit)
		if err == nil {
			err = d.End()
		}
		if err != nil || !slices.Equal(got, want[i]) {
			t.Fatalf("section %d: %q, %v; want %q", i, got, err, want[i])
		}
	}
}

func TestErrors(t *testing.T) {
	for in, want := range map[string]error{
		"\x80":                         errIndex,
		"\xbe":                         errIndex,
		"\xff\xff\xff\xff\xff\xff\xff": fmt.Errorf("hpack: %w", ErrInteger),
		"\x3f\xe2\x1f":                 errUpdate, // 4097
		"\x40\x7f\xff\xff\x7f":         errLong,
		"\x40\x01":                     errCut,
	} {
		if _, err := decode(New(false), []byte(in), 1); err == nil || !strings.HasPrefix(err.Error(), want.Error()) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// FuzzDecode decodes as x/net does.
func FuzzDecode(f *testing.F) {
	sections, _ := traffic(newEncoder())
	for _, s := range sections[:20] {
		f.Add(s, s, 3)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, n int) {
		var want []string
		lib := hpack.NewDecoder(4096, func(f hpack.HeaderField) { want = append(want, f.Name+"="+f.Value) })
		lib.SetMaxStringLength(MaxString)
		d, partial := New(false), New(true)
		for _, b := range [][]byte{first, second} {
			want = nil
			_, wantErr := lib.Write(b)
			if closed := lib.Close(); wantErr == nil {
				wantErr = closed
			}
			got, err := decode(d, b, 1+max(0, n)%50)
			if (err == nil) != (wantErr == nil) && wantErr != nil && strings.Contains(wantErr.Error(), "dynamic table size update MUST occur") {
				return // we don't mind
			}
			if (err == nil) != (wantErr == nil) || !slices.Equal(got, want) {
				t.Fatalf("%q: %q, %v; want %q, %v", b, got, err, want, wantErr)
			}
			if _, perr := decode(partial, b, 1<<20); err == nil && perr != nil {
				t.Fatalf("%q: seen from the middle: %v", b, perr)
			}
			if err != nil {
				return
			}
		}
	})
}

func benchSections() [][]byte {
	e := newEncoder()
	var list [][]byte
	for i := range 1000 {
		list = append(list, e.section(":method=GET", ":scheme=https", ":authority=api.example.test", fmt.Sprintf(":path=/items/%d", i),
			"user-agent=curl/8.5.0", "accept=*/*", "cookie=sid=0123456789abcdef"))
	}
	return list
}

func BenchmarkDecode(b *testing.B) {
	sections := benchSections()
	b.ReportAllocs()
	for b.Loop() {
		d := New(false)
		n := 0
		for _, s := range sections {
			if d.Write(s, func(bus.Field) { n++ }) != nil || d.End() != nil {
				b.Fatal()
			}
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(sections))/b.Elapsed().Seconds(), "sections/s")
}

func BenchmarkDecodeLibrary(b *testing.B) {
	sections := benchSections()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		d := hpack.NewDecoder(4096, func(hpack.HeaderField) { n++ })
		for _, s := range sections {
			if _, err := d.Write(s); err != nil || d.Close() != nil {
				b.Fatal()
			}
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(sections))/b.Elapsed().Seconds(), "sections/s")
}

// However small the pieces of a section are, a string is decoded once.
func TestDecodeOnce(t *testing.T) {
	b := newEncoder().section(strings.Repeat("n", 4000) + "=" + strings.Repeat("v", 4000))
	if n := testing.AllocsPerRun(5, func() {
		d := New(false)
		fields, err := decode(d, b, 1)
		if err != nil || len(fields) != 1 {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
	}); n > 200 {
		t.Errorf("%.0f allocations for %d pieces of a field", n, len(b))
	}
}
