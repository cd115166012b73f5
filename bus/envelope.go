package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The envelope of the binary layers, little endian. One NATS message is one
// batch: a header of 80 bytes
//
//	 0 u16 magic 0x5043 ("CP")      32 u64 side
//	 2 u8  version                  40 u32 skip
//	 3 u8  layer                    44 u32 count
//	 4 u16 header length            48 u32 producer
//	 6 u8  next (layer)             52 4 bytes reserved
//	 7 u8  reserved                 56 u64 second
//	 8 u64 batch                    64 u64 low of the second
//	16 u64 source                   72 8 bytes reserved
//	24 u64 low
//
// and count records, each a header of 48 bytes and its payload:
//
//	 0 u32 payload length           24 i64 time
//	 4 u16 type                     32 u64 stream
//	 6 u16 flags                    40 u32 aux
//	 8 u64 connection               44 u8  direction
//	16 u64 offset                   45 3 bytes reserved
//
// The JSON layers carry the same header as the JSON object of their first line.
const (
	envelopeMagic   = 0x5043
	envelopeVersion = 1
	HeaderLen       = 80      // bytes of a batch header
	RecordLen       = 48      // bytes of a record header
	MaxBatch        = 1 << 20 // bytes of a batch with its header, at most
)

// Progress says which input a batch of output covers, so that the output
// stream alone tells a restarted stage where it was.
type Progress struct {
	Source uint64 `json:"source"` // all output of main-input messages up to this one has been published ...
	Skip   uint32 `json:"skip"`   // ... and this many records of the output of what was consumed next
	Low    uint64 `json:"low"`    // replay from this message of the main input
	Side   uint64 `json:"side"`   // side-input messages consumed

	// Of a stage with two main inputs, Source and Low are those of the layer
	// with the lower number, these are those of the other.
	Second    uint64 `json:"second,omitempty"`
	SecondLow uint64 `json:"secondLow,omitempty"`
	// Next is the input layer of the message that Skip counts from; 0 if Skip is 0.
	Next Layer `json:"next,omitempty"`
}

// BatchHeader is the header of a batch.
type BatchHeader struct {
	Layer    Layer  `json:"-"`
	Batch    uint64 `json:"batch"` // counts the batches of the stream, from 1; 0 is a claim: a writer took the stream over
	Progress        // of the stage that made it; zero for the primary layers
	Producer uint32 `json:"producer"` // random for each start of a process
	Count    uint32 `json:"count"`    // records
}

// ErrEnvelope is a malformed batch.
var ErrEnvelope = errors.New("bus: malformed batch")

var le = binary.LittleEndian

// StartBatch returns b[:0] extended by room for the header.
func StartBatch(b []byte) []byte {
	var zero [HeaderLen]byte
	return append(b[:0], zero[:]...)
}

// AppendRecord appends one record of a binary layer.
func AppendRecord(b []byte, r *Record) []byte {
	var h [RecordLen]byte
	le.PutUint32(h[0:], uint32(len(r.Payload)))
	le.PutUint16(h[4:], uint16(r.Type))
	le.PutUint16(h[6:], uint16(r.Flags))
	le.PutUint64(h[8:], uint64(r.Conn))
	le.PutUint64(h[16:], r.Offset)
	le.PutUint64(h[24:], uint64(r.Time))
	le.PutUint64(h[32:], r.Stream)
	le.PutUint32(h[40:], r.Aux)
	h[44] = byte(r.Dir)
	return append(append(b, h[:]...), r.Payload...)
}

// FinishBatch writes the header in front of the records.
func FinishBatch(b []byte, h *BatchHeader) {
	le.PutUint16(b[0:], envelopeMagic)
	b[2], b[3] = envelopeVersion, byte(h.Layer)
	le.PutUint16(b[4:], HeaderLen)
	b[6] = byte(h.Next)
	le.PutUint64(b[8:], h.Batch)
	le.PutUint64(b[16:], h.Source)
	le.PutUint64(b[24:], h.Low)
	le.PutUint64(b[32:], h.Side)
	le.PutUint32(b[40:], h.Skip)
	le.PutUint32(b[44:], h.Count)
	le.PutUint32(b[48:], h.Producer)
	le.PutUint64(b[56:], h.Second)
	le.PutUint64(b[64:], h.SecondLow)
}

// ParseBatch reads the header; records is what follows. A longer header than
// ours is a newer minor version: its tail is skipped.
func ParseBatch(b []byte) (h BatchHeader, records []byte, err error) {
	if len(b) < HeaderLen || le.Uint16(b) != envelopeMagic {
		return h, nil, ErrEnvelope
	}
	if b[2] != envelopeVersion {
		return h, nil, fmt.Errorf("%w: version %d", ErrEnvelope, b[2])
	}
	n := int(le.Uint16(b[4:]))
	if n < HeaderLen || n > len(b) {
		return h, nil, ErrEnvelope
	}
	h = BatchHeader{
		Layer: Layer(b[3]), Batch: le.Uint64(b[8:]), Count: le.Uint32(b[44:]), Producer: le.Uint32(b[48:]),
		Progress: Progress{Source: le.Uint64(b[16:]), Low: le.Uint64(b[24:]), Side: le.Uint64(b[32:]), Skip: le.Uint32(b[40:]),
			Second: le.Uint64(b[56:]), SecondLow: le.Uint64(b[64:]), Next: Layer(b[6])},
	}
	return h, b[n:], nil
}

// ParseRecord reads the first record of b into r, whose payload aliases b, and
// returns the rest. It leaves r.Layer and r.Pos alone.
func ParseRecord(b []byte, r *Record) (rest []byte, err error) {
	if len(b) < RecordLen {
		return nil, ErrEnvelope
	}
	n := uint64(le.Uint32(b))
	if n > uint64(len(b)-RecordLen) {
		return nil, ErrEnvelope
	}
	end := RecordLen + int(n)
	r.Type, r.Flags = Type(le.Uint16(b[4:])), Flags(le.Uint16(b[6:]))
	r.Conn, r.Offset = ConnID(le.Uint64(b[8:])), le.Uint64(b[16:])
	r.Time, r.Stream = int64(le.Uint64(b[24:])), le.Uint64(b[32:])
	r.Aux, r.Dir = le.Uint32(b[40:]), Dir(b[44])
	r.Payload, r.Event = b[RecordLen:end:end], nil
	return b[end:], nil
}
