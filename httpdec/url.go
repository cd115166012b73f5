package httpdec

import (
	"bytes"
	"fmt"
	"strings"

	"clipper/bus"
)

// requestURL is the target URI as best known (RFC 9112, section 3.3).
func requestURL(c *conn, method, target string, fields []bus.Field) string {
	if method == "CONNECT" {
		scheme, _ := c.origin()
		return scheme + "://" + target
	}
	if target != "" && target[0] != '/' && strings.Contains(target, "://") {
		return target // absolute-form
	}
	scheme, authority := c.origin()
	for i := range fields {
		if f := &fields[i]; len(f.Name) == 4 && strings.EqualFold(f.Name, "host") && f.Value != "" {
			authority = f.Value
			break
		}
	}
	if target == "*" {
		target = ""
	} else if target == "" || target[0] != '/' {
		target = "/" + target
	}
	return scheme + "://" + authority + target
}

func hasField(fields []bus.Field, lower string) bool {
	return field(fields, lower) != ""
}

// field is the value of the first field of that name.
func field(fields []bus.Field, lower string) string {
	for i := range fields {
		if f := &fields[i]; len(f.Name) == len(lower) && strings.EqualFold(f.Name, lower) {
			return f.Value
		}
	}
	return ""
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }
