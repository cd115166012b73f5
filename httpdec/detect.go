package httpdec

import (
	"bytes"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/http1"
)

// detection finds out what a connection speaks, from ALPN and the first bytes
// of either side.
type detection struct {
	prefix [2][]byte // the first bytes
	lost   [2]bool   // the beginning is missing
	items  []earlyItem
	bytes  int
	other  bool // decided: not HTTP
}

// earlyItem is input before the decision.
type earlyItem struct {
	dir  bus.Dir
	b    []byte
	time int64
}

const (
	prefixLen = 256
	maxMethod = 32 // characters of a method that tells HTTP from other protocols
)

// detect looks at bytes while the protocol is not known. It is true when the
// protocol is known now and p is still to be fed to it; otherwise it has dealt
// with p.
func (c *conn) detect(dir bus.Dir, p []byte, t int64) bool {
	d := &c.det
	if d.other {
		return false
	}
	if n := len(d.prefix[dir]); n < prefixLen {
		d.prefix[dir] = append(d.prefix[dir], p[:min(len(p), prefixLen-n)]...)
	}
	alpn := ""
	if c.facts.TLS != nil {
		alpn = c.facts.TLS.ALPN
	}
	g := guess(d.prefix[bus.ClientToServer], d.prefix[bus.ServerToClient], alpn, c.facts.Partial || d.lost[0])
	if c.facts.Partial && g.protocol == "" && startsFrames(p) {
		g = guessed{protocol: "h2"}
		d.items = nil
	}
	switch {
	case g.protocol == "h2":
		c.proto = newHTTP2(c)
	case g.protocol == "http/1.1":
		c.proto = newHTTP1(c)
	case g.protocol == "dns":
		c.proto = newDNSStream(c)
	case g.protocol == "socks":
		c.proto = newSocks(c, d.prefix[bus.ClientToServer][0])
	case g.other != "" && (c.facts.Partial || d.lost[dir]):
		d.prefix[dir] = d.prefix[dir][:0] // from the middle: HTTP may begin with a later record
		d.lost[dir] = true
		if d.bytes += len(p); d.bytes > 16*MaxEarly {
			c.emitVerdict(bus.Verdict{Code: bus.VerdictMidstream, Reason: "the beginning of the connection was not captured, and nothing in it looks like HTTP"}, t)
			d.notHTTP()
		}
		return false
	case g.other != "" || d.bytes+len(p) > MaxEarly:
		c.notHTTP(g.other, t)
		return false
	default:
		d.items = append(d.items, earlyItem{dir, bytes.Clone(p), t})
		d.bytes += len(p)
		return false
	}
	items := d.items
	c.det = detection{}
	if len(items) == 0 {
		return true
	}
	for _, it := range items {
		c.data(it.dir, it.b, it.time)
	}
	c.data(dir, p, t)
	return false
}

func (d *detection) notHTTP() { *d = detection{other: true} }

func (d *detection) gap(dir bus.Dir) {
	d.lost[dir] = true
	d.prefix[dir] = d.prefix[dir][:0]
}

// giveUp ends the detection of a connection that ends.
func (d *detection) giveUp(c *conn, t int64) {
	if c.proto == nil && !d.other && d.bytes > 0 && len(d.items) > 0 {
		c.notHTTP("", t)
	}
}

func (c *conn) notHTTP(what string, t int64) {
	reason := "the connection carries data that is not HTTP"
	if what != "" {
		reason = "the connection carries " + what + ", not HTTP"
	}
	c.det.notHTTP()
	c.emitVerdict(bus.Verdict{Code: bus.VerdictNotHTTP, Reason: reason}, t)
}

// guessed is what the first bytes look like: a protocol that the package has,
// another one, or neither when more bytes are needed.
type guessed struct{ protocol, other string }

// unknown is a protocol without a signature.
const unknown = "an unknown protocol"

// isText reports whether b is printable ASCII and white space.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\r' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func guess(client, server []byte, alpn string, partial bool) guessed {
	g := guessClient(client)
	if g.other == unknown && alpn == "" && !partial {
		// Servers answer even what is not quite HTTP in HTTP.
		switch {
		case hasPrefix(server, "HTTP/1.") && len(server) >= 7:
			return guessed{protocol: "http/1.1"}
		case hasPrefix(server, "HTTP/1.") && isText(client):
			return guessed{}
		}
	}
	if g == (guessed{}) {
		switch {
		case alpn == "" && !partial && len(client) > 0 && len(server) >= 7 && hasPrefix(server, "HTTP/1."):
			return guessed{protocol: "http/1.1"}
		case alpn == "h2":
			return guessed{protocol: "h2"}
		case alpn == "dot":
			return guessed{protocol: "dns"}
		case alpn == "http/1.1", alpn == "http/1.0":
			return guessed{protocol: "http/1.1"}
		}
		if len(client) == 0 {
			g = guessServer(server)
		}
	}
	if g.other != "" && alpn != "" && alpn != "h2" && !strings.HasPrefix(alpn, "http/") {
		g.other = "the protocol " + quote(alpn) + " (by ALPN)"
	}
	return g
}

func guessClient(b []byte) guessed {
	if len(b) == 0 {
		return guessed{}
	}
	if hasPrefix(b, clientPreface) {
		if len(b) < len(clientPreface) {
			return guessed{}
		}
		return guessed{protocol: "h2"}
	}
	switch yes, undecided := looksLikeQuery(b[min(2, len(b)):]); {
	case len(b) > 1 && int(b[0])<<8|int(b[1]) <= dnsHead: // the length that stands before it
	case yes:
		return guessed{protocol: "dns"}
	case undecided && b[0] < 2:
		return guessed{}
	}
	name, undecided := matchSignature(clientSignatures, b)
	switch {
	case strings.HasPrefix(name, "SOCKS"):
		return guessed{protocol: "socks"}
	case name != "":
		return guessed{other: name}
	}
	g := guessText(b)
	if g.other != "" && undecided {
		return guessed{} // its name comes with the next bytes
	}
	return g
}

func guessText(b []byte) guessed {
	line := b[http1.BlankPrefix(b):]
	lf := bytes.IndexByte(line, '\n')
	if lf >= 0 {
		if r, err := http1.ParseRequestLine(strings.TrimSuffix(string(line[:lf]), "\r")); err == nil && len(r.Method) <= maxMethod {
			return guessed{protocol: "http/1.1"}
		}
		return guessed{other: textProtocol(line[:lf])}
	}
	method, _, spaced := bytes.Cut(line, []byte(" "))
	for _, c := range method {
		if !http1.IsTokenChar(c) {
			return guessed{other: unknown}
		}
	}
	switch {
	case spaced && len(method) == 0, len(method) > maxMethod:
		return guessed{other: unknown}
	case len(b) >= prefixLen && knownMethod(string(method)):
		return guessed{protocol: "http/1.1"}
	case len(b) >= prefixLen:
		return guessed{other: unknown}
	}
	return guessed{}
}

func guessServer(b []byte) guessed {
	switch {
	case len(b) == 0:
		return guessed{}
	case bytes.HasPrefix(b, []byte("HTTP/1.")), bytes.HasPrefix(b, []byte("HTTP/0.")):
		return guessed{protocol: "http/1.1"}
	}
	// An HTTP/2 server may speak first: SETTINGS on stream 0 (RFC 9113, section 3.4).
	if len(b) < 9 && b[0] == 0 {
		return guessed{}
	}
	if len(b) >= 9 && b[0] == 0 && b[1] == 0 && b[2]%6 == 0 && bytes.Equal(b[3:9], []byte{4, 0, 0, 0, 0, 0}) {
		return guessed{protocol: "h2"}
	}
	name, _ := matchSignature(serverSignatures, b)
	return guessed{other: name} // without one, the client's bytes tell more
}

// hasPrefix reports whether b and s agree as far as both reach.
func hasPrefix(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

func knownMethod(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "SUBSCRIBE", "NOTIFY", "M-SEARCH":
		return true
	}
	return false
}

// signature is how another protocol begins.
type signature struct {
	name   string
	prefix string
	at     int
}

// matchSignature finds the first signature that b has; undecided is true while
// one that stands before it may still fit when more bytes come.
func matchSignature(list []signature, b []byte) (name string, undecided bool) {
	for _, s := range list {
		switch {
		case len(b) >= s.at && !hasPrefix(b[s.at:], s.prefix):
		case len(b) >= s.at+len(s.prefix):
			return s.name, false
		default:
			return "", true
		}
	}
	return "", false
}

var clientSignatures = []signature{
	{name: "SSH", prefix: "SSH-"},
	{name: "TLS", prefix: "\x16\x03"},
	{name: "SOCKS 5", prefix: "\x05\x01\x00"},
	{name: "SOCKS 5", prefix: "\x05\x01\x02"},
	{name: "SOCKS 5", prefix: "\x05\x02\x00"},
	{name: "SOCKS 5", prefix: "\x05\x03\x00"},
	{name: "SOCKS 4", prefix: "\x04\x01"},
	{name: "PostgreSQL", prefix: "\x00\x00\x00\x08\x04\xd2\x16\x2f"},
	{name: "Redis (RESP)", prefix: "*1\r\n$"},
	{name: "Redis (RESP)", prefix: "*2\r\n$"},
	{name: "Redis (RESP)", prefix: "*3\r\n$"},
	{name: "AMQP", prefix: "AMQP"},
	{name: "Kerberos or LDAP", prefix: "\x30\x84"},
	{name: "NATS", prefix: "CONNECT {"},
	{name: "RDP", prefix: "\x03\x00\x00"},
	// These have room for anything in front, so that they come last.
	{name: "PostgreSQL", prefix: "\x00\x03\x00\x00", at: 4},
	{name: "MQTT", prefix: "\x00\x04MQTT", at: 2},
	{name: "MongoDB", prefix: "\xdd\x07\x00\x00", at: 12},
}

var serverSignatures = []signature{
	{name: "SSH", prefix: "SSH-"},
	{name: "FTP or SMTP", prefix: "220 "},
	{name: "FTP or SMTP", prefix: "220-"},
	{name: "IMAP", prefix: "* OK"},
	{name: "POP3", prefix: "+OK"},
	{name: "VNC (RFB)", prefix: "RFB 0"},
	{name: "NATS", prefix: "INFO {"},
	{name: "MySQL", prefix: "\x00\x0a", at: 3},
}

func textProtocol(line []byte) string {
	word, _, _ := strings.Cut(strings.TrimSuffix(string(line), "\r"), " ")
	switch strings.ToUpper(word) {
	case "EHLO", "HELO":
		return "SMTP"
	case "NICK", "USER", "PASS":
		return "FTP, POP3 or IRC"
	}
	return unknown
}

func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return `"` + s + `"`
}
