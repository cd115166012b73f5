package wire

// IP protocol numbers that Decode knows.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58

	protoHopByHop = 0
	protoIPv4     = 4
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoDestOpts = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
	protoEthernet = 143
)

// Addr is an IPv6 address, or an IPv4 address in its mapped form
// (RFC 4291, section 2.5.5.2).
type Addr [16]byte

// Packet is the innermost IP packet of a frame.
type Packet struct {
	Src, Dst Addr
	V6       bool
	Proto    uint8  // of Data
	Data     []byte // what the IP header carries, as far as it was captured
	Len      int    // its length on the wire, at least len(Data)

	// Of a fragment; Proto is then that of the reassembled packet.
	Fragment bool
	FragMore bool
	FragOff  int // bytes
	FragID   uint32
}

// maxLayers bounds the headers of one frame, against tunnels in tunnels.
const maxLayers = 24

// layer is what the bytes at the cursor are.
type layer uint8

const (
	layerNone layer = iota
	layerEthernet
	layerEtherType // ether holds the type
	layerIP        // version by the first nibble
	layerIPv4
	layerIPv6
	layerProto // IP protocol: Proto and Data are set
	layerPPP
	layerLLC
	layerWiFi
	layerRadiotap
	layerFound
)

// cursor is a position in a frame.
type cursor struct {
	b     []byte // captured
	n     int    // on the wire, at least len(b)
	ether uint16
	depth int // headers so far
}

func (c *cursor) skip(n int) { c.b, c.n = c.b[n:], c.n-n }

// Decode finds the innermost IP packet of a frame whose link type is a
// LINKTYPE_ value and whose length on the wire is n. It reports whether there
// is one.
func (p *Packet) Decode(linkType uint16, frame []byte, n int) bool {
	c := cursor{b: frame, n: max(n, len(frame))}
	return p.walk(&c, link(&c, linkType))
}

// DecodeReassembled continues with the payload of a reassembled packet, whose
// addresses p has.
func (p *Packet) DecodeReassembled(data []byte) bool {
	p.Data, p.Len, p.Fragment = data, len(data), false
	c := cursor{b: data, n: len(data)}
	return p.walk(&c, layerProto)
}

func (p *Packet) walk(c *cursor, next layer) bool {
	for ; c.depth < maxLayers; c.depth++ {
		switch next {
		case layerEthernet:
			next = ethernet(c)
		case layerEtherType:
			next = etherType(c)
		case layerIP:
			next = ipVersion(c)
		case layerIPv4:
			next = p.ipv4(c)
		case layerIPv6:
			next = p.ipv6(c)
		case layerProto:
			next = p.proto(c)
		case layerPPP:
			next = ppp(c)
		case layerLLC:
			next = llc(c)
		case layerWiFi:
			next = wifi(c)
		case layerRadiotap:
			next = radiotap(c)
		case layerFound:
			return true
		default:
			return false
		}
	}
	return false
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
