package cdpgw

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"clipper/bus"
)

// errPattern is a pattern that means something else than whole hosts.
type errPattern string

func (e errPattern) Error() string {
	return fmt.Sprintf("%q is not a whole host, such as *://api.example.com", string(e))
}

// hostPattern reads a URL pattern (URL Standard's URLPattern, as far as it means
// whole hosts): "*://api.example.com", "https://*.example.com:8443/*". As
// there, no port means the scheme's own.
func hostPattern(pattern string) (bus.Target, error) {
	var t bus.Target
	scheme, rest, ok := strings.Cut(pattern, "://")
	if !ok {
		scheme, rest = "*", pattern
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if path != "" && path != "/*" {
		return t, errPattern(pattern)
	}
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		var ok bool
		if host, port, ok = strings.Cut(authority[1:], "]"); !ok {
			return t, errPattern(pattern)
		}
		if port != "" && port[0] != ':' {
			return t, errPattern(pattern)
		}
		port = strings.TrimPrefix(port, ":")
		host = strings.ReplaceAll(host, `\`, "")
	} else if host, port, _ = strings.Cut(authority, ":"); strings.HasSuffix(host, `\`) {
		return t, errPattern(pattern)
	} else {
		host = strings.ReplaceAll(host, `\.`, ".")
	}
	t.Host = strings.ToLower(host)
	if t.Host == "" || strings.Trim(t.Host, "abcdefghijklmnopqrstuvwxyz0123456789.-_*:") != "" {
		return t, errPattern(pattern)
	}
	var known bool
	switch t.Ports, known = schemePorts[strings.ToLower(scheme)]; {
	case !known:
		return t, errPattern(pattern)
	case port == "*":
		t.Ports = nil
	case port != "":
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return t, errPattern(pattern)
		}
		t.Ports = []uint16{uint16(n)}
	}
	return t, nil
}

// schemePorts are the ports that a scheme stands for; a scheme that is a
// pattern stands for all.
var schemePorts = map[string][]uint16{
	"*": {80, 443}, "http*": {80, 443}, "http{s}?": {80, 443}, "ws*": {80, 443},
	"http": {80}, "https": {443}, "ws": {80}, "wss": {443},
}

// hostWildcard reads a pattern of the older form, in which '*' stands for any
// part of the URL: "ads.example.com", "*://ads.example.com:8443/*", "*ads*".
// There, no port means any.
func hostWildcard(pattern string) (bus.Target, error) {
	bare := strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "/")
	if !strings.Contains(bare, "://") && strings.HasPrefix(bare, "*") && strings.TrimLeft(bare, "*.") != "" {
		bare = "*://" + bare
	}
	t, err := hostPattern(bare)
	if err != nil {
		return t, errPattern(pattern)
	}
	if authority := bare[strings.LastIndex(bare, "/")+1:]; !strings.Contains(authority, ":") {
		t.Ports = nil
	}
	t.Ports = slices.Clip(t.Ports)
	return t, nil
}
