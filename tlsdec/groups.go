package tlsdec

import (
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// groupNames are the named groups by their names in IANA's registry "TLS
// Supported Groups".
var groupNames = map[uint16]string{
	1: "sect163k1", 2: "sect163r1", 3: "sect163r2", 4: "sect193r1", 5: "sect193r2", 6: "sect233k1",
	7: "sect233r1", 8: "sect239k1", 9: "sect283k1", 10: "sect283r1", 11: "sect409k1", 12: "sect409r1",
	13: "sect571k1", 14: "sect571r1", 15: "secp160k1", 16: "secp160r1", 17: "secp160r2", 18: "secp192k1",
	19: "secp192r1", 20: "secp224k1", 21: "secp224r1", 22: "secp256k1", 23: "secp256r1", 24: "secp384r1",
	25: "secp521r1", 26: "brainpoolP256r1", 27: "brainpoolP384r1", 28: "brainpoolP512r1", 29: "x25519",
	30: "x448", 31: "brainpoolP256r1tls13", 32: "brainpoolP384r1tls13", 33: "brainpoolP512r1tls13", 41: "curveSM2",
	256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192",
	512: "MLKEM512", 513: "MLKEM768", 514: "MLKEM1024",
	4587: "SecP256r1MLKEM768", 4588: "X25519MLKEM768", 4589: "SecP384r1MLKEM1024",
	25497: "X25519Kyber768Draft00", 25498: "SecP256r1Kyber768Draft00",
}

func groupName(g uint16) string {
	if n, ok := groupNames[g]; ok {
		return n
	}
	return fmt.Sprintf("0x%04x", g)
}

// serverKeyExchangeGroup names the group of a ServerKeyExchange, or gives "": the
// named curve of an ECDHE suite (RFC 8422, section 5.4), or the size of the prime
// of a DHE one (RFC 5246, section 7.4.3). suite is its IANA name.
func serverKeyExchangeGroup(body []byte, suite string) string {
	s := cryptobyte.String(body)
	exchange, _, _ := strings.Cut(suite, "_WITH_")
	var hint, prime cryptobyte.String
	if strings.HasSuffix(exchange, "_PSK") && !s.ReadUint16LengthPrefixed(&hint) { // RFC 4279, section 2
		return ""
	}
	switch {
	case strings.HasPrefix(exchange, "TLS_ECDH"):
		const namedCurve = 3
		var kind uint8
		var group uint16
		if s.ReadUint8(&kind) && kind == namedCurve && s.ReadUint16(&group) {
			return groupName(group)
		}
	case strings.HasPrefix(exchange, "TLS_DH") && s.ReadUint16LengthPrefixed(&prime):
		return fmt.Sprintf("DH %d bits", new(big.Int).SetBytes(prime).BitLen())
	}
	return ""
}
