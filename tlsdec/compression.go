package tlsdec

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// Compression methods (RFC 3749, section 2.1).
const (
	compressionNull    = 0
	compressionDeflate = 1
)

var errCompression = errors.New("tlsdec: record does not decompress")

// maxWindow is how far back DEFLATE refers (RFC 1951, section 2).
const maxWindow = 32 << 10

// compressed undoes the compression below a record protection: the records of
// a direction are one zlib stream, flushed at the end of each (RFC 3749, section 2).
type compressed struct {
	protection
	inflater *inflater
	begun    bool   // the zlib header was seen
	window   []byte // of plaintext, the latest
}

// inflater is what decompression needs during a record. All connections share it.
type inflater struct {
	in  bytes.Reader
	z   io.ReadCloser
	out [maxPlaintext + 1]byte
}

func (p *compressed) anyOrder() bool { return false }

func (p *compressed) open(dst, record []byte) (contentType, []byte, error) {
	typ, b, err := p.protection.open(dst, record)
	if err != nil || len(b) == 0 {
		return typ, b, err
	}
	if !p.begun {
		const header, deflate = 2, 8 // RFC 1950, section 2.2
		if len(b) < header || b[0]&0xf != deflate || (int(b[0])<<8|int(b[1]))%31 != 0 {
			return 0, nil, errCompression
		}
		p.begun, b = true, b[header:]
	}
	plain, err := p.inflater.inflate(b, p.window)
	if err != nil {
		return 0, nil, err
	}
	p.window = append(p.window, plain...)
	if n := len(p.window); n > 2*maxWindow {
		p.window = p.window[:copy(p.window, p.window[n-maxWindow:])]
	}
	return typ, plain, nil
}

// inflate decompresses whole DEFLATE blocks that follow window. The result is valid
// until the next call.
func (z *inflater) inflate(b, window []byte) ([]byte, error) {
	z.in.Reset(b)
	window = window[max(0, len(window)-maxWindow):]
	if z.z == nil {
		z.z = flate.NewReaderDict(&z.in, window)
	} else if err := z.z.(flate.Resetter).Reset(&z.in, window); err != nil {
		return nil, errCompression
	}
	n, err := io.ReadFull(z.z, z.out[:])
	// No block says that it is the last one, so the end is always unexpected.
	if err != io.ErrUnexpectedEOF && err != io.EOF || z.in.Len() > 0 {
		return nil, errCompression
	}
	return z.out[:n], nil
}
