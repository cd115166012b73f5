package tcp

import "encoding/binary"

// Flags of a segment (RFC 9293, section 3.1).
const (
	FIN byte = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// HeaderLen is the length of a header without options.
const HeaderLen = 20

// MaxHeaderLen is the longest header that Put writes.
const MaxHeaderLen = HeaderLen + 8

// Segment is a TCP segment less its ports and checksum.
type Segment struct {
	Seq, Ack uint32
	Flags    byte
	Window   uint16 // as in the header, not scaled
	Payload  []byte

	// Options of a SYN.
	MSS      uint16 // 0: not given
	Scale    uint8  // shift of the windows to come (RFC 7323, section 2)
	HasScale bool
}

// Parse reads a segment from the bytes behind the IP header. The payload is part
// of b.
func Parse(b []byte) (s Segment, ok bool) {
	if len(b) < HeaderLen {
		return s, false
	}
	header := int(b[12]>>4) * 4
	if header < HeaderLen || header > len(b) {
		return s, false
	}
	s = Segment{
		Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]),
		Flags: b[13], Window: binary.BigEndian.Uint16(b[14:]), Payload: b[header:],
	}
	if s.Flags&SYN != 0 {
		s.parseOptions(b[HeaderLen:header])
	}
	return s, true
}

// Kinds of options (RFC 9293, section 3.2; RFC 7323, section 2.2).
const (
	optionEnd   = 0
	optionNop   = 1
	optionMSS   = 2
	optionScale = 3

	maxScale = 14
)

// parseOptions passes over what it does not know; nonsense ends the list.
func (s *Segment) parseOptions(b []byte) {
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == optionNop {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return
		}
		option := b[:b[1]]
		switch {
		case option[0] == optionMSS && len(option) == 4:
			s.MSS = binary.BigEndian.Uint16(option[2:])
		case option[0] == optionScale && len(option) == 3:
			s.Scale, s.HasScale = min(option[2], maxScale), true
		}
		b = b[len(option):]
	}
}

// Len is the length of the header with its options.
func (s *Segment) Len() int {
	n := HeaderLen
	if s.MSS != 0 {
		n += 4
	}
	if s.HasScale {
		n += 4
	}
	return n
}

// Put writes the header, with a checksum of 0, to the first Len bytes of b.
func (s *Segment) Put(b []byte, src, dst uint16) {
	n := s.Len()
	binary.BigEndian.PutUint16(b[0:], src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint32(b[4:], s.Seq)
	binary.BigEndian.PutUint32(b[8:], s.Ack)
	b[12], b[13] = byte(n/4)<<4, s.Flags
	binary.BigEndian.PutUint16(b[14:], s.Window)
	clear(b[16:HeaderLen])
	o := b[HeaderLen:n]
	if s.MSS != 0 {
		copy(o, []byte{optionMSS, 4, byte(s.MSS >> 8), byte(s.MSS)})
		o = o[4:]
	}
	if s.HasScale {
		copy(o, []byte{optionNop, optionScale, 3, s.Scale})
	}
}

// space is what the segment takes of the sequence numbers.
func (s *Segment) space() uint32 {
	n := uint32(len(s.Payload))
	if s.Flags&SYN != 0 {
		n++
	}
	if s.Flags&FIN != 0 {
		n++
	}
	return n
}

// Refusal is the RST that answers s when there is no connection for it (RFC
// 9293, section 3.5.2); there is none for a RST.
func Refusal(s *Segment) (rst Segment, ok bool) {
	switch {
	case s.Flags&RST != 0:
		return rst, false
	case s.Flags&ACK != 0:
		return Segment{Flags: RST, Seq: s.Ack}, true
	}
	return Segment{Flags: RST | ACK, Ack: s.Seq + s.space()}, true
}
