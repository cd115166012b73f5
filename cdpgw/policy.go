package cdpgw

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// refuse is the cross-site policy: it says why a request is refused, "" when
// it is not.
//
// The Host must be a loopback address or "localhost", which stops DNS
// rebinding. An Origin, which browsers send with every WebSocket, must be this
// server's own or that of the browser's built-in DevTools. A request that a
// browser marks as coming from another site, or from another port of this
// host, may only open the page in a tab of its own.
func refuse(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
		return "Host " + r.Host + " is not a loopback address"
	}
	if len(r.Header.Values("Origin")) > 1 {
		return "more than one Origin"
	}
	switch o := r.Header.Get("Origin"); o {
	case "", "devtools://devtools":
	default:
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "http" || u.Host != r.Host || r.Host == "" {
			return "Origin " + o + " is not this server"
		}
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "none", "same-origin":
	default:
		navigation := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if !navigation || strings.HasPrefix(r.URL.Path, "/json") {
			return "request from another site (" + site + ")"
		}
	}
	return ""
}

// contentSecurityPolicy of the page. Captured HTML is previewed in a data:
// frame, which script-src keeps from running anything.
const contentSecurityPolicy = "default-src 'self'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; frame-src data:; connect-src 'self' data: blob:; " +
	"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secure sets the headers that every answer has.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cache-Control", "no-store")
}
