package natsbus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"

	"clipper/bus"
)

const (
	batchTarget = 128 << 10
	// batchCap leaves room for the message's header under a max_payload of 1 MiB,
	// the default of NATS.
	batchCap = bus.MaxBatch - 4<<10
	// headRoom is for the header line of a JSON batch: eleven numbers.
	headRoom = 400
)

// batcher gathers records into one batch.
type batcher struct {
	layer    bus.Layer
	producer uint32
	target   int    // bytes at which a batch is sent
	batch    uint64 // number of the last batch
	buf      []byte // room for the header, then records
	count    uint32
	bulk     bool // the batch before was large
}

// Buffers of large batches are used again when the batch is stored: to make one
// by and by, and to collect it, costs more than to fill it.
const (
	largeBatch = batchTarget / 2
	bufferSize = batchTarget + 64<<10 + 4<<10 // with the frame that fills it
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func getBuffer() []byte { return buffers.Get().(*[bufferSize]byte)[:0] }

// freeBuffer takes a batch that nobody needs any more, of whatever size.
func freeBuffer(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

func newBatcher(l bus.Layer, producer uint32) *batcher {
	b := &batcher{layer: l, producer: producer, target: batchTarget}
	b.start()
	return b
}

// newProducer marks the batches of one start of a writer.
func newProducer() uint32 { return rand.Uint32() }

func (b *batcher) start() {
	b.count = 0
	if b.layer.JSONLines() {
		b.buf = make([]byte, headRoom, 4<<10)
		return
	}
	if b.bulk {
		b.buf = bus.StartBatch(getBuffer())
		return
	}
	b.buf = bus.StartBatch(make([]byte, 0, 4<<10))
}

// grow makes room for n bytes of a binary layer.
func (b *batcher) grow(n int) {
	if n += len(b.buf); n > cap(b.buf) && n >= largeBatch && n <= bufferSize {
		b.buf = append(getBuffer(), b.buf...)
	}
}

// ready reports whether the batch should be sent.
func (b *batcher) ready() bool { return len(b.buf) >= b.target }

// parts is into how many records of the stream r is split: a record has to fit into a batch.
func (b *batcher) parts(r *bus.Record) int {
	if !splittable(b.layer, r) {
		return 1
	}
	return max(1, (len(r.Payload)+maxPart-1)/maxPart)
}

const maxPart = batchCap - bus.HeaderLen - bus.RecordLen

// splittable records carry bytes with an address.
func splittable(l bus.Layer, r *bus.Record) bool {
	return r.Type == bus.BodyBytes && l == bus.Body || r.Type == bus.Data && (l == bus.TCP || l == bus.Plain)
}

// part is part i of r.
func (b *batcher) part(r *bus.Record, i int) *bus.Record {
	if i == 0 && len(r.Payload) <= maxPart || !splittable(b.layer, r) {
		return r
	}
	p := *r
	p.Offset += uint64(i * maxPart)
	p.Payload = r.Payload[i*maxPart : min((i+1)*maxPart, len(r.Payload))]
	return &p
}

// add adds one record (or part). It reports false when the batch must be
// finished first.
func (b *batcher) add(r *bus.Record) (bool, error) {
	if !b.layer.JSONLines() { // the size is known before
		n := bus.RecordLen + len(r.Payload)
		if bus.HeaderLen+n > batchCap {
			return false, fmt.Errorf("%w: %d bytes on layer %v", ErrTooLarge, n, b.layer)
		}
		if len(b.buf)+n > batchCap {
			return false, nil
		}
		b.grow(n)
		b.buf = bus.AppendRecord(b.buf, r)
		b.count++
		return true, nil
	}
	line, err := jsonLine(b.layer, r)
	if err != nil {
		return false, err
	}
	if headRoom+len(line)+1 > batchCap {
		return false, fmt.Errorf("%w: a line of %d bytes on layer %v", ErrTooLarge, len(line), b.layer)
	}
	if len(b.buf)+len(line)+1 > batchCap {
		return false, nil
	}
	b.buf = append(append(b.buf, line...), '\n')
	b.count++
	return true, nil
}

// finish returns the batch and starts the next.
func (b *batcher) finish(p bus.Progress) []byte {
	b.batch++
	return b.seal(b.batch, p)
}

// claim is the batch by which a writer takes a stream over: number 0.
func (b *batcher) claim() []byte { return b.seal(0, bus.Progress{}) }

func (b *batcher) seal(number uint64, p bus.Progress) []byte {
	h := bus.BatchHeader{Layer: b.layer, Batch: number, Progress: p, Producer: b.producer, Count: b.count}
	data := b.buf
	if b.layer.JSONLines() {
		line, err := json.Marshal(headLine{&h})
		if err != nil || len(line)+1 > headRoom {
			panic(fmt.Sprintf("natsbus: header line of %d bytes: %v", len(line), err)) // numbers only: cannot be
		}
		data = data[headRoom-len(line)-1:]
		copy(data, line)
		data[len(line)] = '\n'
	} else {
		bus.FinishBatch(data, &h)
		b.bulk = len(data) >= largeBatch
	}
	b.start()
	return data
}

// headLine is the first line of a JSON batch.
type headLine struct {
	Batch *bus.BatchHeader `json:"batch"`
}

// jsonLine is a record of a JSON layer as one line, without its newline.
func jsonLine(l bus.Layer, r *bus.Record) ([]byte, error) {
	switch {
	case r.Event != nil:
		return json.Marshal(r.Event)
	case r.Type == bus.EOS && l == bus.HTTP:
		return json.Marshal(&bus.Event{Type: bus.EventEOS, Time: r.Time})
	case r.Type == bus.EOS:
		return json.Marshal(&bus.ProcEvent{Type: bus.ProcEOS, Time: r.Time})
	case bytes.IndexByte(r.Payload, '\n') < 0 && json.Valid(r.Payload):
		return r.Payload, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, r.Payload); err != nil {
		return nil, fmt.Errorf("natsbus: a line of layer %v: %w", l, err)
	}
	return b.Bytes(), nil
}
