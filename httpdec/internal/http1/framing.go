package http1

import (
	"strings"

	"clipper/bus"
)

// Framing says how a message body ends (RFC 9112, section 6.3).
type Framing uint8

// Framings.
const (
	NoBody     Framing = iota
	ByLength           // Content-Length
	ByChunks           // Transfer-Encoding: chunked
	UntilClose         // the rest of the connection
)

// BodyFraming applies RFC 9112, section 6.3, rules 3 to 8, to the fields of a
// head: what the status or the method decides comes before it. Where the
// message contradicts itself, problem says how.
func BodyFraming(fields []bus.Field, request bool, version string) (f Framing, length uint64, problem string) {
	var coding string
	te, chunked, cl, clBad := false, false, -1, false
	for i := range fields {
		switch name := fields[i].Name; {
		case len(name) == 17 && strings.EqualFold(name, "transfer-encoding"):
			te = true
			chunked = chunked || strings.Contains(strings.ToLower(fields[i].Value), "chunked")
			last := fields[i].Value
			if j := strings.LastIndexByte(last, ','); j >= 0 {
				last = last[j+1:]
			}
			coding = strings.ToLower(strings.TrimSpace(last))
		case len(name) == 14 && strings.EqualFold(name, "content-length"):
			for v := range strings.SplitSeq(fields[i].Value, ",") {
				n, ok := parseLength(strings.TrimSpace(v))
				switch {
				case !ok:
					clBad, problem = true, "invalid Content-Length "+quote(fields[i].Value)
				case cl >= 0 && n != length:
					clBad, problem = true, "Content-Length values that differ"
				case cl >= 0:
					problem = "Content-Length more than once"
				}
				if ok && cl < 0 {
					cl, length = i, n
				}
			}
		}
	}
	switch {
	case te && coding == "chunked":
		if cl >= 0 || clBad {
			problem = "both Transfer-Encoding and Content-Length (possible request smuggling)"
		} else if version == "HTTP/1.0" {
			problem = "Transfer-Encoding in HTTP/1.0"
		}
		return ByChunks, 0, problem
	case te && coding == "identity" && !chunked && cl < 0:
		problem = "Transfer-Encoding: identity"
	case te && coding == "identity" && !chunked:
		return ByLength, length, "Transfer-Encoding: identity"
	case te:
		return UntilClose, 0, "Transfer-Encoding does not end with chunked: " + quote(coding)
	}
	switch {
	case clBad && cl >= 0 && request:
		return ByLength, length, problem // what most servers would take, or answer with 400
	case clBad:
		return UntilClose, 0, problem
	case cl >= 0 && length == 0:
		return NoBody, 0, problem
	case cl >= 0:
		return ByLength, length, problem
	case request:
		return NoBody, 0, problem
	}
	return UntilClose, 0, problem
}

func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return `"` + s + `"`
}

func parseLength(s string) (n uint64, ok bool) {
	if s == "" || len(s) > 40 {
		return 0, false
	}
	for _, d := range []byte(s) {
		if d < '0' || d > '9' || n > (1<<63-10)/10 {
			return 0, false
		}
		n = n*10 + uint64(d-'0')
	}
	return n, true
}
