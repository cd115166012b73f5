//go:build linux

package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"clipper/bus"
)

// memory is a partition that keeps its records.
type memory struct {
	records []bus.Record
	pending int
}

func (m *memory) Publish(r *bus.Record) error {
	c := *r
	c.Payload = bytes.Clone(r.Payload)
	m.records = append(m.records, c)
	m.pending++
	return nil
}

func (m *memory) Flush() error { m.pending = 0; return nil }

func memories(n int) (all []*memory, out []Output) {
	for range n {
		m := &memory{}
		all, out = append(all, m), append(out, Output{Publisher: m})
	}
	return all, out
}

// logFile is a partition in a file, which outlives its writer.
type logFile struct {
	f   *os.File
	buf []byte
}

func (l *logFile) Publish(r *bus.Record) error {
	l.buf = bus.AppendRecord(l.buf, r)
	if len(l.buf) > 32<<10 { // as a batch that is sent before the flush
		return l.Flush()
	}
	return nil
}

func (l *logFile) Flush() error {
	_, err := l.f.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// openLogFile cuts off what a killed writer left half written.
func openLogFile(name string) (Output, error) {
	records, whole, err := readLogFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Output{}, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return Output{}, err
	}
	if err := f.Truncate(whole); err != nil {
		return Output{}, err
	}
	o := Output{Publisher: &logFile{f: f}}
	if n := len(records); n > 0 {
		o.Resume, o.Ended = NextIndex(&records[n-1]), records[n-1].Type == bus.EOS
	}
	return o, nil
}

func readLogFile(name string) (records []bus.Record, whole int64, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, 0, err
	}
	for rest := b; len(rest) > 0; {
		var r bus.Record
		if rest, err = bus.ParseRecord(rest, &r); err != nil {
			return records, whole, nil
		}
		records = append(records, r)
		whole = int64(len(b) - len(rest))
	}
	return records, whole, nil
}

func logName(dir string, partition int) string { return fmt.Sprintf("%s/frames.%d", dir, partition) }

// counterOf is the number that a test put into a UDP datagram over IPv4.
func counterOf(r *bus.Record) (uint64, bool) {
	p := network(uint16(r.Type), r.Payload)
	if len(p) < 36 || p[9] != protoUDP {
		return 0, false
	}
	return binary.BigEndian.Uint64(p[28:]), true
}
