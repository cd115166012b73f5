package tlsdec

import (
	"bytes"
	"compress/zlib"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/cryptobyte"
)

// Certificate compression algorithms (RFC 8879, section 7.3).
const (
	certZlib   = 1
	certBrotli = 2
	certZstd   = 3
)

// expandCertificate undoes a CompressedCertificate (RFC 8879, section 4). What
// it expands to is at most maxHandshakeMessage long.
func expandCertificate(body []byte) ([]byte, error) {
	s := cryptobyte.String(body)
	var algorithm uint16
	var length uint32
	var data cryptobyte.String
	if !s.ReadUint16(&algorithm) || !s.ReadUint24(&length) || !s.ReadUint24LengthPrefixed(&data) || length > maxHandshakeMessage {
		return nil, errHandshake
	}
	var r io.Reader
	switch algorithm {
	case certZlib:
		z, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, errHandshake
		}
		r = z
	case certBrotli:
		r = brotli.NewReader(bytes.NewReader(data))
	case certZstd:
		z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<20))
		if err != nil {
			return nil, errHandshake
		}
		defer z.Close()
		r = z
	default:
		return nil, errHandshake
	}
	out := make([]byte, length)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, errHandshake
	}
	return out, nil
}
