package reassembler

import (
	"bytes"

	"clipper/reassembler/internal/wire"
)

// clientIsB guesses which end of a connection that was joined in the middle is
// the client: by what the first payload is, then by known server ports, then
// by the lower port.
func clientIsB(k *flowKey, t *wire.Segment, fromB bool) bool {
	switch {
	case looksLikeRequest(t.Payload):
		return fromB
	case looksLikeResponse(t.Payload):
		return !fromB
	}
	a, b := serverPorts[k.a.port], serverPorts[k.b.port]
	switch {
	case a != b:
		return a
	case k.a.port != k.b.port:
		return k.a.port < k.b.port
	}
	return fromB
}

var serverPorts = map[uint16]bool{
	20: true, 21: true, 22: true, 23: true, 25: true, 53: true, 80: true, 88: true, 110: true, 143: true, 389: true, 443: true,
	445: true, 465: true, 587: true, 636: true, 853: true, 989: true, 990: true, 993: true, 995: true, 1080: true, 1433: true,
	1521: true, 1883: true, 3000: true, 3128: true, 3306: true, 3389: true, 4222: true, 5000: true, 5222: true, 5269: true,
	5432: true, 5672: true, 5900: true, 6379: true, 6443: true, 6667: true, 6697: true, 8000: true, 8080: true, 8081: true,
	8088: true, 8443: true, 8883: true, 8888: true, 9000: true, 9090: true, 9092: true, 9200: true, 9443: true, 11211: true,
	27017: true, 50051: true,
}

var methods = [][]byte{[]byte("GET "), []byte("POST "), []byte("HEAD "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "),
	[]byte("PATCH "), []byte("CONNECT "), []byte("PRI * HTTP/2")}

func looksLikeRequest(b []byte) bool {
	for _, m := range methods {
		if bytes.HasPrefix(b, m) {
			return true
		}
	}
	return tlsHandshake(b) == 1
}

func looksLikeResponse(b []byte) bool {
	return bytes.HasPrefix(b, []byte("HTTP/1.")) || tlsHandshake(b) == 2
}

// tlsHandshake is the type of the handshake message that b begins with: 1 is a
// ClientHello, 2 a ServerHello (RFC 8446, section 4); 0 if it is none.
func tlsHandshake(b []byte) byte {
	if len(b) < 6 || b[0] != 22 || b[1] != 3 || b[2] > 4 {
		return 0
	}
	return b[5]
}
