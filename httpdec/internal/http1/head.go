// Package http1 parses the elements of HTTP/0.9 to HTTP/1.1 messages
// (RFC 9112) as a silent reader must: it accepts what real peers send, keeps
// names, case, order and duplicates, and says what is wrong instead of
// guessing. Bytes in, values and consumed lengths out; no state but where
// bytes arrive in pieces.
package http1

import (
	"bytes"
	"errors"
	"strings"

	"clipper/bus"
)

// ErrMalformed is a start line that is not HTTP.
var ErrMalformed = errors.New("http1: malformed start line")

// HeadEnd finds the empty line that ends a head (RFC 9112, section 2.1),
// looking from offset from on; a bare LF ends a line, too. It returns the
// length of the head with that line, or 0 and the offset to look from when
// more bytes have come.
func HeadEnd(b []byte, from int) (n, resume int) {
	for i := from; i < len(b); {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return 0, max(i, len(b)-1)
		}
		i += lf
		switch {
		case i+1 < len(b) && b[i+1] == '\n':
			return i + 2, 0
		case i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n':
			return i + 3, 0
		case i+1 == len(b), i+2 == len(b) && b[i+1] == '\r':
			return 0, i
		}
		i++
	}
	return 0, from
}

// BlankPrefix counts the CR and LF bytes in front of a start line (RFC 9112,
// section 2.2).
func BlankPrefix(b []byte) int {
	for i, c := range b {
		if c != '\r' && c != '\n' {
			return i
		}
	}
	return len(b)
}

// cutLine splits off the first line and its terminator.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// RequestLine is a request-line (RFC 9112, section 3).
type RequestLine struct {
	Method, Target, Version string // Version is "HTTP/1.1"; empty in HTTP/0.9
}

// ParseRequestLine parses one line without its terminator. White space inside
// the target is kept: the method ends at the first space, the version starts
// after the last.
func ParseRequestLine(line string) (RequestLine, error) {
	method, rest, ok := strings.Cut(line, " ")
	if !ok || !IsToken(method) {
		return RequestLine{}, ErrMalformed
	}
	rest = strings.TrimRight(rest, " \t")
	if i := strings.LastIndexByte(rest, ' '); i >= 0 && IsVersion(rest[i+1:]) {
		return RequestLine{method, strings.Trim(rest[:i], " "), rest[i+1:]}, nil
	}
	if IsVersion(rest) { // no target at all
		return RequestLine{method, "", rest}, nil
	}
	if method != "GET" || strings.ContainsRune(rest, ' ') || rest == "" {
		return RequestLine{}, ErrMalformed
	}
	return RequestLine{method, rest, ""}, nil
}

// StatusLine is a status-line (RFC 9112, section 4).
type StatusLine struct {
	Version string
	Status  int
	Reason  string
}

// ParseStatusLine parses one line without its terminator.
func ParseStatusLine(line string) (StatusLine, error) {
	version, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	if !IsVersion(version) || len(rest) < 3 || (len(rest) > 3 && rest[3] != ' ') {
		return StatusLine{}, ErrMalformed
	}
	status := 0
	for _, c := range []byte(rest[:3]) {
		if c < '0' || c > '9' {
			return StatusLine{}, ErrMalformed
		}
		status = status*10 + int(c-'0')
	}
	return StatusLine{version, status, strings.TrimPrefix(rest[3:], " ")}, nil
}

// IsVersion reports whether s is an HTTP-version of HTTP/0 or HTTP/1.
func IsVersion(s string) bool {
	return len(s) == 8 && s[:5] == "HTTP/" && (s[5] == '0' || s[5] == '1') && s[6] == '.' && s[7] >= '0' && s[7] <= '9'
}

// IsToken reports whether s is a token (RFC 9110, section 5.6.2).
func IsToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return true
}

// IsTokenChar reports whether c may stand in a token.
func IsTokenChar(c byte) bool { return tokenChars[c] }

var tokenChars = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// ParseFields parses field lines (RFC 9112, section 5) up to the empty line.
// The values alias s but for those that obs-fold continues, which are joined
// by one space. Lines without a colon are kept as a name without value;
// problem says what is not as the RFC wants it.
func ParseFields(s string) (fields []bus.Field, problem string) {
	if s == "" {
		return []bus.Field{}, ""
	}
	odd := func(what string) {
		if problem == "" {
			problem = what
		} else if !strings.Contains(problem, what) {
			problem += "; " + what
		}
	}
	fields = make([]bus.Field, 0, min(strings.Count(s, "\n"), 128))
	for s != "" {
		var line string
		line, s = cutLine(s)
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			odd("folded header line (obs-fold)")
			if n := len(fields); n > 0 {
				fields[n-1].Value = strings.TrimSpace(fields[n-1].Value + " " + strings.Trim(line, " \t"))
				continue
			}
		}
		name, value, ok := strings.Cut(line, ":")
		switch {
		case !ok:
			odd("header line without a colon")
		case name == "" || name[len(name)-1] == ' ' || name[len(name)-1] == '\t':
			odd("space before the colon of a header line")
			name = strings.TrimRight(name, " \t")
		}
		fields = append(fields, bus.Field{Name: name, Value: strings.Trim(value, " \t")})
	}
	return fields, problem
}

// SplitHead splits a head into its start line and the field lines.
func SplitHead(head string) (start, fields string) { return cutLine(head) }
