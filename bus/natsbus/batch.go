package natsbus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"

	"clipper/bus"
)

// Batch is one message of a stream.
type Batch struct {
	bus.BatchHeader
	Partition int
	Seq       uint64 // in the stream, ascending
	Missed    uint64 // batches that were trimmed before they could be read
	Drained   bool   // nothing more was stored when this was delivered: flush what waits
	Err       error  // malformed; set by Records at the latest, which gives what can be read

	records []byte
	backlog uint64
	size    int
	eos     int8 // is the last record EOS? 0 is unknown, 1 yes, -1 no
}

// parseBatch reads the header of data, which it keeps.
func parseBatch(l bus.Layer, data []byte) *Batch {
	b := &Batch{size: len(data)}
	if !l.JSONLines() {
		b.BatchHeader, b.records, b.Err = bus.ParseBatch(data)
		if b.Err == nil && b.Layer != l {
			b.Err = fmt.Errorf("%w: of layer %v", bus.ErrEnvelope, b.Layer)
		}
	} else {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		h := headLine{&b.BatchHeader}
		if err := json.Unmarshal(line, &h); err != nil || h.Batch == nil {
			b.Err = fmt.Errorf("%w: no header line", bus.ErrEnvelope)
		}
		b.records = rest
	}
	b.Layer = l
	if b.Err != nil {
		b.BatchHeader, b.records = bus.BatchHeader{Layer: l}, nil
	}
	return b
}

// Records ranges over the records. Each is valid until the next.
func (b *Batch) Records() iter.Seq[*bus.Record] {
	return func(yield func(*bus.Record) bool) {
		b.eos = -1
		rest, n := b.records, uint32(0)
		for ; n < b.Count; n++ {
			r := bus.Record{Layer: b.Layer, Pos: b.Seq}
			var err error
			if b.Layer.JSONLines() {
				rest, err = parseLine(rest, &r)
			} else {
				rest, err = bus.ParseRecord(rest, &r)
			}
			if err != nil {
				b.Err = fmt.Errorf("record %d of %d: %w", n+1, b.Count, err)
				if rest == nil {
					return
				}
				continue // a bad line; the next may be good
			}
			if r.Type == bus.EOS {
				b.eos = 1
			}
			if !yield(&r) {
				b.eos = 0
				return
			}
		}
		if len(rest) > 0 && b.Err == nil {
			b.Err = fmt.Errorf("%w: %d bytes after %d records", bus.ErrEnvelope, len(rest), b.Count)
		}
	}
}

// endsStream reports whether the batch holds EOS.
func (b *Batch) endsStream() bool {
	if b.eos == 0 {
		for range b.Records() {
		}
	}
	return b.eos > 0
}

// parseLine reads the first line of a JSON layer. The rest is nil if there is no line.
func parseLine(b []byte, r *bus.Record) (rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, bus.ErrEnvelope
	}
	r.Type = bus.Line
	if r.Layer == bus.Proc {
		e := &bus.ProcEvent{}
		if err := json.Unmarshal(line, e); err != nil {
			return rest, fmt.Errorf("%w: %w", bus.ErrEnvelope, err)
		}
		r.Event, r.Time = e, e.Time
		if e.Type == bus.ProcEOS {
			r.Type = bus.EOS
		}
		return rest, nil
	}
	e := &bus.Event{}
	if err := json.Unmarshal(line, e); err != nil {
		return rest, fmt.Errorf("%w: %w", bus.ErrEnvelope, err)
	}
	r.Event, r.Time, r.Conn, r.Stream, r.Dir = e, e.Time, e.Conn, e.Stream, e.Dir
	if e.Type == bus.EventEOS {
		r.Type = bus.EOS
	}
	return rest, nil
}
