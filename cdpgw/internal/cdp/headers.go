// Package cdp holds the wire types of the Chrome DevTools Protocol, version
// 1.3 "tot", as far as a Network panel reads them. Field names and meanings are
// those of the protocol's Network, Debugger and Runtime domains.
package cdp

import (
	"encoding/json"
	"strings"

	"clipper/bus"
)

// Headers is the protocol's Headers object in wire order. The values of
// repeated names stand in one value, separated by "\n", as Chrome sends them.
type Headers []bus.Field

// MarshalJSON implements json.Marshaler.
func (h Headers) MarshalJSON() ([]byte, error) {
	joined := make([]bus.Field, 0, len(h))
	index := make(map[string]int, len(h))
	for _, f := range h {
		if i, ok := index[f.Name]; ok {
			joined[i].Value += "\n" + f.Value
			continue
		}
		index[f.Name] = len(joined)
		joined = append(joined, f)
	}
	b := append(make([]byte, 0, 64*len(joined)+2), '{')
	for i, f := range joined {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, f.Name)
		b = append(b, ':')
		b = appendString(b, f.Value)
	}
	return append(b, '}'), nil
}

// Get is the value of the first field with that name, in any case.
func (h Headers) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Has reports whether a comma-separated field lists token, in any case.
func (h Headers) Has(name, token string) bool {
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		for t := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// appendString appends s as a JSON string; bytes that are not UTF-8 stand as
// the characters of ISO 8859-1, as field values are shown (RFC 9110, section 5.5).
func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(Text(s))
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, q...)
}
