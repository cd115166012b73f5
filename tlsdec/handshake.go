package tlsdec

// Handshake message types (RFC 8446, section 4; RFC 5246, section 7.4).
const (
	msgHelloRequest          = 0
	msgClientHello           = 1
	msgServerHello           = 2
	msgNewSessionTicket      = 4
	msgEndOfEarlyData        = 5
	msgEncryptedExtensions   = 8
	msgCertificate           = 11
	msgServerKeyExchange     = 12
	msgServerHelloDone       = 14
	msgClientKeyExchange     = 16
	msgFinished              = 20
	msgKeyUpdate             = 24
	msgCompressedCertificate = 25 // RFC 8879
)

// Extension types (IANA registry "TLS ExtensionType Values").
const (
	extServerName           = 0
	extSupportedGroups      = 10
	extECPointFormats       = 11
	extSignatureAlgorithms  = 13
	extALPN                 = 16
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extPreSharedKey         = 41
	extEarlyData            = 42
	extSupportedVersions    = 43
	extKeyShareDraft        = 40 // before draft 23
	extKeyShare             = 51
	extEncryptedClientHello = 0xfe0d
	handshakeHeaderLen      = 4
	maxHandshakeMessage     = 128 << 10 // longer ones are skipped, not kept
)

// parseHandshake reads the header of the handshake message in front of b. body is nil with
// errMore while it is incomplete; length is then that of the whole message, or 0.
func parseHandshake(b []byte) (typ uint8, body []byte, length int, err error) {
	if len(b) < handshakeHeaderLen {
		return 0, nil, 0, errMore
	}
	length = handshakeHeaderLen + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
	if len(b) < length {
		return b[0], nil, length, errMore
	}
	return b[0], b[handshakeHeaderLen:length:length], length, nil
}
