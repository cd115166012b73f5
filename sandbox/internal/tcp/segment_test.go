package tcp

import (
	"reflect"
	"testing"
)

var segments = []Segment{
	{Seq: 1, Ack: 2, Flags: ACK | PSH, Window: 3, Payload: []byte("hello")},
	{Seq: 7, Flags: SYN, Window: 0xffff, MSS: 65480, Scale: 7, HasScale: true, Payload: []byte{}},
	{Seq: 7, Flags: SYN, MSS: 1460, Payload: []byte{}},
	{Seq: 7, Flags: SYN | ACK, Scale: 14, HasScale: true, Payload: []byte{}},
}

func encode(s *Segment) []byte {
	b := make([]byte, s.Len(), s.Len()+len(s.Payload))
	s.Put(b, 1000, 80)
	return append(b, s.Payload...)
}

func TestSegments(t *testing.T) {
	for _, s := range segments {
		b := encode(&s)
		if got, ok := Parse(b); !ok || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v came back as %+v, %v", s, got, ok)
		}
		for n := range s.Len() {
			if _, ok := Parse(b[:n:n]); ok {
				t.Errorf("%d of %d bytes of header were taken for a segment", n, s.Len())
			}
		}
	}
}

func TestRefusal(t *testing.T) {
	for _, x := range []struct{ s, want Segment }{
		{Segment{Flags: SYN, Seq: 10}, Segment{Flags: RST | ACK, Ack: 11}},
		{Segment{Flags: FIN, Seq: 10, Payload: []byte("abc")}, Segment{Flags: RST | ACK, Ack: 14}},
		{Segment{Flags: ACK, Seq: 10, Ack: 99}, Segment{Flags: RST, Seq: 99}},
	} {
		if got, ok := Refusal(&x.s); !ok || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%+v is answered with %+v, %v", x.s, got, ok)
		}
	}
	if rst, ok := Refusal(&Segment{Flags: RST | ACK}); ok {
		t.Errorf("a RST is answered with %+v", rst)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range segments {
		f.Add(encode(&s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := Parse(b)
		if !ok {
			return
		}
		if again, ok := Parse(encode(&s)); !ok || again.Seq != s.Seq || again.MSS != s.MSS || again.HasScale != s.HasScale || string(again.Payload) != string(s.Payload) {
			t.Errorf("%+v came back as %+v, %v", s, again, ok)
		}
	})
}
