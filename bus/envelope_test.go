package bus

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func testRecords() []Record {
	return []Record{
		{Type: Open, Conn: 1, Time: -5, Payload: []byte(`{"transport":"tcp"}`)},
		{Type: Data, Dir: ServerToClient, Flags: Conflict | Early, Conn: 1<<64 - 1, Offset: 1 << 40, Time: 1<<63 - 1, Stream: 7, Aux: 1<<32 - 1, Payload: bytes.Repeat([]byte{0xa5}, 300)},
		{Type: Gap, Conn: 2, Aux: 9},
		{Type: EOS},
	}
}

func testBatch() ([]byte, BatchHeader) {
	rs := testRecords()
	h := BatchHeader{Layer: Plain, Batch: 3, Producer: 4, Count: uint32(len(rs)),
		Progress: Progress{Source: 5, Low: 6, Side: 7, Skip: 8, Second: 9, SecondLow: 10, Next: Keys}}
	b := StartBatch(nil)
	for i := range rs {
		b = AppendRecord(b, &rs[i])
	}
	FinishBatch(b, &h)
	return b, h
}

// parseAll reads a batch as far as it goes.
func parseAll(b []byte) (h BatchHeader, rs []Record, err error) {
	h, rest, err := ParseBatch(b)
	for n := uint32(0); err == nil && n < h.Count; n++ {
		var r Record
		if rest, err = ParseRecord(rest, &r); err == nil {
			rs = append(rs, r)
		}
	}
	return h, rs, err
}

func TestEnvelope(t *testing.T) {
	b, want := testBatch()
	h, rs, err := parseAll(b)
	if err != nil || h != want {
		t.Fatalf("header %+v, want %+v: %v", h, want, err)
	}
	for i, r := range testRecords() {
		if r.Payload == nil {
			r.Payload = []byte{}
		}
		if !reflect.DeepEqual(rs[i], r) {
			t.Errorf("record %d: %+v, want %+v", i, rs[i], r)
		}
	}
}

func TestEnvelopePrefixes(t *testing.T) {
	b, _ := testBatch()
	for n := range b {
		if _, rs, err := parseAll(b[:n:n]); !errors.Is(err, ErrEnvelope) {
			t.Fatalf("prefix of %d bytes: %d records, %v", n, len(rs), err)
		}
	}
}

// A minor version may add to the header; a payload does not reach into what follows.
func TestEnvelopeExtension(t *testing.T) {
	b, want := testBatch()
	longer := append(append(bytes.Clone(b[:HeaderLen]), "new field"...), b[HeaderLen:]...)
	le.PutUint16(longer[4:], HeaderLen+9)
	h, rs, err := parseAll(longer)
	if err != nil || h != want || len(rs) != len(testRecords()) {
		t.Fatalf("%+v, %d records: %v", h, len(rs), err)
	}
	rs[0].Payload = append(rs[0].Payload, "overrun"...)
	if _, again, err := parseAll(longer); err != nil || again[1].Conn != rs[1].Conn {
		t.Error("a payload can grow into the next record")
	}
	b[2] = 2
	if _, _, err := ParseBatch(b); !errors.Is(err, ErrEnvelope) {
		t.Errorf("another version: %v", err)
	}
}

func FuzzParseBatch(f *testing.F) {
	b, _ := testBatch()
	f.Add(b)
	f.Add(b[:HeaderLen])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rs, err := parseAll(b)
		if err != nil {
			return
		}
		again := StartBatch(nil)
		for i := range rs {
			again = AppendRecord(again, &rs[i])
		}
		FinishBatch(again, &h)
		h2, rs2, err := parseAll(again)
		if err != nil || h2 != h || !reflect.DeepEqual(rs, rs2) {
			t.Fatalf("%+v %+v became %+v %+v: %v", h, rs, h2, rs2, err)
		}
	})
}
