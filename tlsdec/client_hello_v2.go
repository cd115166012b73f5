package tlsdec

import "encoding/binary"

// A ClientHello in the format of SSL 2 (RFC 5246, appendix E.2) has a record
// header of its own: two bytes of length, the highest bit of them set.
const (
	helloV2Header = 2
	helloV2Fixed  = 11 // header, type, version and the three lengths
)

// helloV2Len is the length of the record in front of b, header included. It
// rejects as soon as a byte is wrong.
func helloV2Len(b []byte) (int, error) {
	for i, x := range b[:min(len(b), helloV2Fixed)] {
		ok := true
		switch i {
		case 0:
			ok = x&0x80 != 0 && x&0x7f <= maxPlaintext>>8
		case 2:
			ok = x == msgClientHello
		case 3:
			ok = x == 3 || x == 0
		case 4:
			ok = x <= 4 && (b[3] == 3 || x == 2)
		}
		if !ok {
			return 0, errRecord
		}
	}
	if len(b) < helloV2Fixed {
		return 0, errMore
	}
	suites, session, challenge := helloV2Lengths(b)
	total := helloV2Header + int(b[0]&0x7f)<<8 + int(b[1])
	if suites == 0 || suites%3 != 0 || session > 32 || challenge < 16 || challenge > 32 || total != helloV2Fixed+suites+session+challenge {
		return 0, errRecord
	}
	return total, nil
}

func helloV2Lengths(b []byte) (suites, session, challenge int) {
	length := func(at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	return length(5), length(7), length(9)
}

// probeClientHelloV2 looks at the beginning of a connection.
func probeClientHelloV2(b []byte) probe {
	switch _, err := helloV2Len(b); err {
	case nil:
		return yes
	case errMore:
		return maybe
	}
	return no
}

// parseClientHelloV2 reads a whole record.
func parseClientHelloV2(b []byte) (*clientHello, error) {
	total, err := helloV2Len(b)
	if err != nil || total != len(b) {
		return nil, errHandshake
	}
	h := &clientHello{version: binary.BigEndian.Uint16(b[3:])}
	suites, session, _ := helloV2Lengths(b)
	b = b[helloV2Fixed:]
	for ; suites > 0; suites -= 3 {
		if b[0] == 0 { // others are suites of SSL 2
			h.suites = append(h.suites, binary.BigEndian.Uint16(b[1:]))
		}
		b = b[3:]
	}
	h.sessionID = append(h.sessionID, b[:session]...)
	challenge := b[session:]
	copy(h.random[len(h.random)-len(challenge):], challenge)
	return h, nil
}
