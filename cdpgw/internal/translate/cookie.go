package translate

import (
	"net/url"
	"strconv"
	"strings"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// requestCookies are the pairs of the Cookie fields (RFC 6265, section 4.2.1).
// What the request does not tell (path, expiry, attributes) has neutral values.
func requestCookies(r *bus.Request) []cdp.AssociatedCookie {
	out := []cdp.AssociatedCookie{}
	var domain, scheme string
	port := -1
	for _, f := range r.Headers {
		if !strings.EqualFold(f.Name, "cookie") {
			continue
		}
		if domain == "" {
			if u, err := url.Parse(r.URL); err == nil {
				domain, scheme = u.Hostname(), u.Scheme
				port = portOf(u)
			}
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name == "" {
				continue
			}
			c := cdp.Cookie{
				Name: cdp.Text(name), Value: cdp.Text(value), Domain: domain, Path: "/", Expires: -1, Size: len(name) + len(value),
				Session: true, Priority: "Medium", SourceScheme: "NonSecure", SourcePort: port,
			}
			if scheme == "https" {
				c.Secure, c.SourceScheme = true, "Secure"
			}
			out = append(out, cdp.AssociatedCookie{Cookie: c, BlockedReasons: []string{}})
		}
	}
	return out
}

func portOf(u *url.URL) int {
	if p, err := strconv.Atoi(u.Port()); err == nil && p > 0 && p < 1<<16 {
		return p
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}
