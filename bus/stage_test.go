package bus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// LowMark against a plain list.
func TestLowMark(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l LowMark
	type entry struct {
		pos  uint64
		mark *Mark
	}
	var open []entry
	pos := uint64(0)
	for range 10_000 {
		if rng.IntN(2) == 0 || len(open) == 0 {
			pos += rng.Uint64N(3)
			open = append(open, entry{pos, l.Add(pos)})
		} else {
			i := rng.IntN(len(open))
			m := open[i].mark
			open = slices.Delete(open, i, i+1)
			l.Remove(m)
			l.Remove(m) // a second time does nothing
		}
		want := None
		for _, e := range open {
			want = min(want, e.pos)
		}
		if got := l.Low(); got != want {
			t.Fatalf("low %d, want %d", got, want)
		}
		if len(open) > 50 {
			for _, e := range open {
				l.Remove(e.mark)
			}
			open = nil
			if l.Low() != None {
				t.Fatalf("low %d of nothing", l.Low())
			}
		}
	}
	l.Remove(nil)
}

// relay emits what it takes on another layer.
type relay struct {
	takes, gives []Layer
	name         string
}

func (r relay) Takes() []Layer { return r.takes }
func (r relay) Gives() []Layer { return r.gives }
func (r relay) Low() uint64    { return None }
func (r relay) Process(in *Record, emit func(*Record)) {
	for _, l := range r.gives {
		emit(&Record{Layer: l, Payload: fmt.Appendf(nil, "%s(%v %s)", r.name, in.Layer, in.Payload)})
	}
}

func TestChain(t *testing.T) {
	var got []string
	c := NewChain(func(r *Record) { got = append(got, fmt.Sprintf("%v=%s", r.Layer, r.Payload)) },
		relay{[]Layer{Frames}, []Layer{TCP, UDP}, "re"},
		relay{[]Layer{TCP, Keys}, []Layer{Plain}, "tls"},
		relay{[]Layer{Plain}, []Layer{HTTP, TCP}, "http"})
	c.Process(&Record{Layer: Frames, Payload: []byte("f")})
	c.Process(&Record{Layer: Keys, Payload: []byte("k")})
	c.Process(&Record{Layer: Proc, Payload: []byte("p")})
	want := []string{
		"http=http(plain tls(tcp re(frames f)))", "tcp=http(plain tls(tcp re(frames f)))", // what comes out at the end does not go around again
		"udp=re(frames f)",
		"http=http(plain tls(keys k))", "tcp=http(plain tls(keys k))",
		"proc=p",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
