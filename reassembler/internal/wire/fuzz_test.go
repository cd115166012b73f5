package wire

import "testing"

// FuzzDecode: no frame of any link type brings the decoders to panic, or to
// give more than the frame has.
func FuzzDecode(f *testing.F) {
	ip := []byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0}
	ether := append(append(make([]byte, 12), 8, 0), ip...)
	f.Add(uint16(LinkRaw), 0, ip)
	f.Add(uint16(LinkEthernet), 10, ether)
	f.Add(uint16(LinkPPI), 0, append([]byte{0, 0, 8, 0, 1, 0, 0, 0}, ether...))
	f.Add(uint16(LinkEthernet), 0, append(append(make([]byte, 12), 0x88, 0x47, 0, 0, 1, 64), ip...))
	f.Add(uint16(LinkWiFi), 0, append(append([]byte{8, 1}, make([]byte, 22)...), append([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, ip...)...))
	f.Fuzz(func(t *testing.T, link uint16, cut int, frame []byte) {
		var p Packet
		if !p.Decode(link, frame, len(frame)+cut&0xffff) {
			return
		}
		check := func(data []byte, n int) {
			if n < len(data) || len(data) > len(frame) {
				t.Errorf("%d of %d bytes out of %d", len(data), n, len(frame))
			}
		}
		check(p.Data, p.Len)
		var s Segment
		if p.Segment(&s) {
			check(s.Payload, s.Len)
			s.WindowScale()
		}
		var d Datagram
		if p.Datagram(&d) {
			check(d.Payload, d.Len)
		}
	})
}
