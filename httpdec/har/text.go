package har

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"unicode/utf8"
)

// A body goes into the file as it is read, in pieces; its place in the marshalled
// entry is held by one of these. No string value can be marshalled to them, as
// the encoder escapes neither letter.
const (
	postMark    = `"\u0050"`
	contentMark = `"\u0043"`
)

// isText reports whether all of r may stand as text in JSON: UTF-8 without NUL.
func isText(r io.Reader, buf []byte) (bool, error) {
	have := 0
	for {
		n, err := r.Read(buf[have:])
		p := buf[:have+n]
		whole := p[:len(p)-cutRune(p)]
		if !utf8.Valid(whole) || bytes.IndexByte(whole, 0) >= 0 {
			return false, nil
		}
		have = copy(buf, p[len(whole):])
		if err == io.EOF {
			return have == 0, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// cutRune is how many bytes at the end of p begin a character that does not end.
func cutRune(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if last := p[len(p)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return n
			}
			break
		}
	}
	return 0
}

// writeText writes r as a JSON string; isText was true for it.
func writeText(w *bufio.Writer, r io.Reader, buf []byte) error {
	w.WriteByte('"')
	for {
		n, err := r.Read(buf)
		escape(w, buf[:n])
		if err == io.EOF {
			return w.WriteByte('"')
		}
		if err != nil {
			return err
		}
	}
}

// escape writes the bytes of a JSON string; what is not ASCII goes as it is.
func escape(w *bufio.Writer, p []byte) {
	const hex = "0123456789abcdef"
	from := 0
	for i, c := range p {
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		w.Write(p[from:i])
		from = i + 1
		switch c {
		case '"', '\\':
			w.WriteByte('\\')
			w.WriteByte(c)
		case '\n':
			w.WriteString(`\n`)
		case '\r':
			w.WriteString(`\r`)
		case '\t':
			w.WriteString(`\t`)
		default:
			w.WriteString(`\u00`)
			w.WriteByte(hex[c>>4])
			w.WriteByte(hex[c&15])
		}
	}
	w.Write(p[from:])
}

// writeBase64 writes r as a JSON string in base64.
func writeBase64(w *bufio.Writer, r io.Reader, buf []byte) error {
	w.WriteByte('"')
	enc := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := io.CopyBuffer(enc, r, buf); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return w.WriteByte('"')
}
