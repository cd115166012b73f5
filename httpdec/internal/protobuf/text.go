// Package protobuf renders Protocol Buffers messages without their schema
// (https://protobuf.dev/programming-guides/encoding/).
package protobuf

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what Text renders.
const (
	MaxText  = 16 << 10 // bytes
	MaxDepth = 16       // messages inside each other
	maxHex   = 256      // bytes of one value that is neither text nor a message

	maxPacked = 64 // numbers of a list
)

// Text renders a message, one field a line: its number and its value. Values
// with a length are shown as text, as a nested message, or as hex digits,
// whichever they look like. It is empty when b is no message.
func Text(b []byte) string {
	var w strings.Builder
	if !write(&w, b, 0) {
		return ""
	}
	return w.String()
}

func write(w *strings.Builder, b []byte, depth int) bool {
	for len(b) > 0 {
		if w.Len() > MaxText {
			w.WriteString("…\n")
			return true
		}
		f, n := parseField(b)
		if n == 0 {
			return false
		}
		b = b[n:]
		w.WriteString(strings.Repeat("  ", depth))
		w.WriteString(strconv.FormatUint(f.number, 10))
		switch f.wire {
		case 0:
			fmt.Fprintf(w, ": %d\n", f.value)
		case 1:
			writeFloat(w, f.value, math.Float64frombits(f.value))
		case 5:
			writeFloat(w, f.value, float64(math.Float32frombits(uint32(f.value))))
		case 2:
			writeBytes(w, f.bytes, depth)
		}
	}
	return true
}

func writeFloat(w *strings.Builder, bits uint64, v float64) {
	if a := math.Abs(v); v == 0 || a > 1e-9 && a < 1e15 {
		fmt.Fprintf(w, ": %v  # or %#x\n", v, bits)
		return
	}
	fmt.Fprintf(w, ": %#x\n", bits)
}

func writeBytes(w *strings.Builder, b []byte, depth int) {
	if isText(b) {
		w.WriteString(": ")
		w.WriteString(strconv.Quote(string(b)))
		w.WriteByte('\n')
		return
	}
	if depth < MaxDepth && valid(b) {
		w.WriteString(" {\n")
		write(w, b, depth+1)
		w.WriteString(strings.Repeat("  ", depth))
		w.WriteString("}\n")
		return
	}
	if list, ok := packed(b); ok {
		fmt.Fprintf(w, ": %s  # packed, or hex %x\n", list, b[:min(len(b), maxHex)])
		return
	}
	if len(b) > maxHex {
		fmt.Fprintf(w, ": hex %x… (%d bytes)\n", b[:maxHex], len(b))
		return
	}
	fmt.Fprintf(w, ": hex %x\n", b)
}

// packed shows b as a list of packed numbers (varints), if it can be one.
func packed(b []byte) (list string, ok bool) {
	var w strings.Builder
	n := 0
	for len(b) > 0 {
		v, k := binary.Uvarint(b)
		if k <= 0 || k > 1 && b[k-1] == 0 { // not the shortest form: no encoder writes it
			return "", false
		}
		if n++; n <= maxPacked {
			fmt.Fprintf(&w, " %d", v)
		}
		b = b[k:]
	}
	if n > maxPacked {
		fmt.Fprintf(&w, " … (%d numbers)", n)
	}
	return "[" + strings.TrimPrefix(w.String(), " ") + "]", n > 1
}

func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}

// valid reports whether b parses as fields.
func valid(b []byte) bool {
	for len(b) > 0 {
		_, n := parseField(b)
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

type field struct {
	number uint64
	wire   int
	value  uint64
	bytes  []byte
}

// parseField reads a field from the front of b; n is 0 when there is none.
func parseField(b []byte) (f field, n int) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, 0
	}
	f.number, f.wire = tag>>3, int(tag&7)
	rest := b[n:]
	switch f.wire {
	case 0:
		v, k := binary.Uvarint(rest)
		if k <= 0 {
			return f, 0
		}
		f.value = v
		return f, n + k
	case 1:
		if len(rest) < 8 {
			return f, 0
		}
		f.value = binary.LittleEndian.Uint64(rest)
		return f, n + 8
	case 5:
		if len(rest) < 4 {
			return f, 0
		}
		f.value = uint64(binary.LittleEndian.Uint32(rest))
		return f, n + 4
	case 2:
		size, k := binary.Uvarint(rest)
		if k <= 0 || size > uint64(len(rest)-k) {
			return f, 0
		}
		f.bytes = rest[k : k+int(size)]
		return f, n + k + int(size)
	}
	return f, 0
}
