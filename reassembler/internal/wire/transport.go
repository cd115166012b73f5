package wire

// TCP flags (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Segment is a TCP segment.
type Segment struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Window           uint16 // as sent, unscaled
	Flags            uint8
	Payload          []byte // as far as it was captured
	Len              int    // payload's length on the wire, at least len(Payload)
	Options          []byte
}

// Segment reads the packet's data as TCP.
func (p *Packet) Segment(s *Segment) bool {
	b := p.Data
	if len(b) < 20 {
		return false
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > p.Len {
		return false
	}
	s.SrcPort, s.DstPort = be16(b), be16(b[2:])
	s.Seq, s.Ack = be32(b[4:]), be32(b[8:])
	s.Flags, s.Window = b[13]&0x3f, be16(b[14:])
	captured := min(header, len(b))
	s.Options, s.Payload = b[20:captured], b[captured:]
	s.Len = p.Len - header
	return true
}

// WindowScale is the shift of the window scale option (RFC 7323, section 2).
func (s *Segment) WindowScale() (shift uint8, ok bool) {
	const (
		end   = 0
		nop   = 1
		scale = 3
	)
	for o := s.Options; len(o) > 0; {
		switch o[0] {
		case end:
			return 0, false
		case nop:
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return 0, false
		}
		if o[0] == scale && o[1] == 3 {
			return min(o[2], 14), true
		}
		o = o[o[1]:]
	}
	return 0, false
}

// Datagram is a UDP datagram.
type Datagram struct {
	SrcPort, DstPort uint16
	Payload          []byte // as far as it was captured
	Len              int    // payload's length on the wire, at least len(Payload)
}

// Datagram reads the packet's data as UDP (RFC 768).
func (p *Packet) Datagram(d *Datagram) bool {
	b := p.Data
	if len(b) < 8 {
		return false
	}
	d.SrcPort, d.DstPort = be16(b), be16(b[2:])
	n := int(be16(b[4:]))
	if n < 8 || n > p.Len { // 0: longer than 64 KiB, or offload
		n = p.Len
	}
	d.Len = n - 8
	d.Payload = b[8:min(n, len(b))]
	return true
}

// Start reads the first 8 bytes of a TCP or UDP header, which is all that an
// ICMP error must quote (RFC 792); len(p.Data) is at least 8. The sequence
// number is only meaningful for TCP.
func (p *Packet) Start() (srcPort, dstPort uint16, seq uint32) {
	return be16(p.Data), be16(p.Data[2:]), be32(p.Data[4:])
}
