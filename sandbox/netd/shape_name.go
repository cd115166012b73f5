//go:build linux

package netd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxHead is how much of the beginning of a connection is looked at for a name.
const maxHead = 16 << 10

// serverName finds what a client calls its server in the first bytes that it
// sent: the server name of TLS (RFC 6066, section 3) or the Host of HTTP/1
// (RFC 9110, section 7.2), "" where there is none. More says that these bytes
// are not enough to tell.
func serverName(b []byte) (name string, more bool) {
	if len(b) == 0 {
		return "", true
	}
	more = len(b) < maxHead
	switch {
	case b[0] == 0x16: // a handshake record (RFC 8446, section 5.1)
		name, err := helloName(b)
		return name, more && errors.Is(err, io.ErrUnexpectedEOF)
	case 'A' <= b[0] && b[0] <= 'Z':
		return hostName(b, more)
	}
	return "", false
}

// hostName reads the lines of a request that are there, as if they were all.
func hostName(b []byte, more bool) (string, bool) {
	first := bytes.IndexByte(b, '\n')
	if first < 0 {
		return "", more && bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\r' }) < 0
	}
	head := b[:bytes.LastIndexByte(b, '\n')+1]
	complete := bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n"))))
	if err != nil {
		return "", false
	}
	if r.Host == "" {
		return "", more && !complete && bytes.Contains(b[:first], []byte(" HTTP/1."))
	}
	return hostOnly(r.Host), false
}

func hostOnly(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		return h
	}
	return s
}

// helloName reads a ClientHello with the reader of crypto/tls, which knows all
// its forms, and stops there.
func helloName(b []byte) (name string, err error) {
	found := errors.New("found")
	c := tls.Server(&helloConn{r: bytes.NewReader(b)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		return nil, found
	}})
	err = c.Handshake()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return name, err
}

// helloConn gives the bytes there are and takes any.
type helloConn struct{ r *bytes.Reader }

func (c *helloConn) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c *helloConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *helloConn) Close() error                     { return nil }
func (c *helloConn) LocalAddr() net.Addr              { return nil }
func (c *helloConn) RemoteAddr() net.Addr             { return nil }
func (c *helloConn) SetDeadline(time.Time) error      { return nil }
func (c *helloConn) SetReadDeadline(time.Time) error  { return nil }
func (c *helloConn) SetWriteDeadline(time.Time) error { return nil }
