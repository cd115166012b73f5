package pcapng

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// Block types (draft-ietf-opsawg-pcapng, section 11.1).
const (
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 10
	blockProcess    = 0x80000001 // Apple's, of the range for local use
	blockSection    = 0x0a0d0d0a // the same in both byte orders
)

const byteOrderMagic = 0x1a2b3c4d

// secretsTLS is the type of secrets that are lines of an SSLKEYLOGFILE.
const secretsTLS = 0x544c534b

// Option codes (sections 3.5 and 4).
const (
	optEnd     = 0
	optComment = 1

	optHardware    = 2 // section
	optOS          = 3
	optApplication = 4

	optIfName        = 2 // interface
	optIfDescription = 3
	optIfResolution  = 9
	optIfOffset      = 14

	optFlags       = 2 // packet
	optDropCount   = 4
	optProcess     = 0x8001 // Apple's: number of the process block, from 0
	optProcessName = 2      // of the process block

	optStatReceived = 4 // statistics
	optStatDropped  = 5
)

// Directions in the option epb_flags (section 4.3.1).
const (
	flagsDirection = 3
	flagsInbound   = 1
	flagsOutbound  = 2
)

// option is one option. Its value aliases the block.
type option struct {
	code  uint16
	value []byte
}

// parseOption reads the option that b begins with and returns what follows.
// There is none at the end of the options and where they make no sense: options
// are an addition to a block that is good without them.
func parseOption(order binary.ByteOrder, b []byte) (o option, rest []byte, ok bool) {
	if len(b) < 4 {
		return o, nil, false
	}
	o.code = order.Uint16(b)
	n := int(order.Uint16(b[2:]))
	if o.code == optEnd || 4+n > len(b) {
		return o, nil, false
	}
	o.value = b[4 : 4+n]
	return o, b[min(4+pad4(n), len(b)):], true
}

// pad4 is n rounded up to a multiple of 4.
func pad4(n int) int { return (n + 3) &^ 3 }

// text is the value as a string of limited length; some writers end it by a zero.
func (o *option) text() string {
	const most = 4096
	s := string(o.value[:min(len(o.value), most)])
	s, _, _ = strings.Cut(s, "\x00")
	return strings.ToValidUTF8(s, "�")
}

// clock turns the time stamps of an interface into Unix time.
type clock struct {
	resolution uint8 // option if_tsresol: 10^-n, or 2^-n with the highest bit set; 0: not given
	set        bool
	offset     int64 // seconds, option if_tsoffset
}

const defaultResolution = 6

// nanoseconds is the Unix time in ns of a stamp. What does not fit is cut to
// the first or last time that does.
func (c clock) nanoseconds(stamp uint64) int64 {
	resolution := uint8(defaultResolution)
	if c.set {
		resolution = c.resolution
	}
	var seconds, fraction uint64 // fraction in ns
	switch n := uint(resolution & 0x7f); {
	case resolution&0x80 != 0 && n > 63:
		// 2^-64 s and less: all stamps lie in the first second, or nearly so.
		hi, _ := bits.Mul64(stamp, 1e9)
		fraction = hi >> min(n-64, 63)
	case resolution&0x80 != 0:
		seconds = stamp >> n
		hi, lo := bits.Mul64(stamp&(1<<n-1), 1e9)
		fraction = hi<<(64-n) | lo>>n
	case n <= 19:
		unit := pow10(n)
		seconds = stamp / unit
		if n <= 9 {
			fraction = stamp % unit * pow10(9-n)
		} else {
			fraction = stamp % unit / pow10(n-9)
		}
	case n <= 28:
		fraction = stamp / pow10(n-9)
	}
	const most = 9223372035 // seconds, so that the sum below fits
	if c.offset < -most {
		return -most * 1e9
	}
	if seconds > 2*most || c.offset > most {
		return most * 1e9
	}
	s := min(max(int64(seconds)+c.offset, -most), most)
	return s*1e9 + int64(fraction)
}

func pow10(n uint) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
