package natsbus

import (
	"bytes"
	"testing"

	"clipper/bus"
)

func FuzzBatch(f *testing.F) {
	for _, l := range []bus.Layer{bus.TCP, bus.HTTP, bus.Proc} {
		b := newBatcher(l, 1)
		b.add(&bus.Record{Layer: l, Type: bus.Line, Payload: []byte(`{"type":"request","conn":"00000000000000ff"}`)})
		b.add(&bus.Record{Layer: l, Type: bus.EOS})
		f.Add(uint8(l), b.finish(bus.Progress{Source: 1, Low: 2}))
	}
	f.Add(uint8(bus.HTTP), []byte("{\"batch\":{\"count\":4294967295}}\n\n\n{}\nx\n"))
	f.Fuzz(func(t *testing.T, l uint8, data []byte) {
		layer := bus.Layer(l%8 + 1)
		b := parseBatch(layer, data)
		n := 0
		for r := range b.Records() {
			n++
			if r.Layer != layer || layer.JSONLines() && r.Event == nil {
				t.Fatalf("record %+v of layer %v", r, layer)
			}
		}
		if b.Err == nil && n != int(b.Count) || n > len(data) {
			t.Fatalf("%d records of %d in %d bytes: %v", n, b.Count, len(data), b.Err)
		}
		b.endsStream()
	})
}

// Every prefix of a batch is malformed, and says so.
func TestBatchPrefixes(t *testing.T) {
	for _, l := range bus.Layers {
		b := newBatcher(l, 1)
		b.add(&bus.Record{Layer: l, Type: bus.Data, Payload: []byte(`{"type":"x"}`)})
		b.add(&bus.Record{Layer: l, Type: bus.EOS, Payload: []byte(`{"type":"x"}`)})
		data := b.finish(bus.Progress{Source: 1<<64 - 1, Low: 1<<64 - 1, Side: 1<<64 - 1, Skip: 1<<32 - 1, Second: 1<<64 - 1, SecondLow: 1<<64 - 1, Next: bus.Body})
		for n := range data {
			m := parseBatch(l, data[:n:n])
			for range m.Records() {
			}
			if m.Err == nil {
				t.Fatalf("layer %v: prefix of %d bytes of %d: no error", l, n, len(data))
			}
		}
		m := parseBatch(l, data)
		if !m.endsStream() || m.Err != nil || m.Source != 1<<64-1 || m.Next != bus.Body {
			t.Errorf("layer %v: %+v", l, m)
		}
	}
}

// A batch keeps its bytes while later ones are filled, until it is freed.
func TestBatchBuffers(t *testing.T) {
	b := newBatcher(bus.TCP, 1)
	var waiting [][]byte
	check := func(data []byte, want uint64) {
		t.Helper()
		m := parseBatch(bus.TCP, data)
		n := 0
		for r := range m.Records() {
			for _, c := range r.Payload {
				if c != byte(want) {
					t.Fatalf("batch %d holds a byte of another", want)
				}
			}
			n++
		}
		if m.Err != nil || m.Batch != want || n == 0 {
			t.Fatalf("batch %d: %d records, number %d, %v", want, n, m.Batch, m.Err)
		}
	}
	for number := uint64(1); number < 200; number++ {
		size := []int{100, 3000, 64 << 10, batchCap - 200}[number%4]
		for !b.ready() {
			if ok, err := b.add(&bus.Record{Layer: bus.TCP, Type: bus.Data, Payload: bytes.Repeat([]byte{byte(number)}, size)}); err != nil {
				t.Fatal(err)
			} else if !ok {
				break
			}
			if number%5 == 0 { // a small batch
				break
			}
		}
		waiting = append(waiting, b.finish(bus.Progress{}))
		if len(waiting) > 7 {
			check(waiting[0], number-7)
			freeBuffer(waiting[0])
			waiting = waiting[1:]
		}
	}
}
