package translate

import (
	"strings"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// requestKind is the resource type as far as the request tells.
func requestKind(r *bus.Request) string {
	h := headers(r.Headers)
	switch {
	case isWebSocket(r):
		return "WebSocket"
	case h.Has("accept", "text/event-stream"):
		return "EventSource"
	case r.Method == "CONNECT":
		return "Other"
	}
	return "Fetch"
}

// responseKind is the resource type once the media type is known: native
// programs have no other sign of what they ask for.
func responseKind(kind, mime string) string {
	top, _, _ := strings.Cut(mime, "/")
	switch {
	case mime == "text/event-stream":
		return "EventSource"
	case kind == "EventSource":
		return "Fetch"
	case mime == "text/html" || mime == "application/xhtml+xml":
		return "Document"
	case mime == "text/css":
		return "Stylesheet"
	case strings.Contains(mime, "javascript") || mime == "application/ecmascript":
		return "Script"
	case mime == "application/manifest+json":
		return "Manifest"
	case top == "image":
		return "Image"
	case top == "audio" || top == "video" || mime == "application/vnd.apple.mpegurl":
		return "Media"
	case top == "font" || strings.HasPrefix(mime, "application/font-") || strings.HasPrefix(mime, "application/x-font-"):
		return "Font"
	}
	return kind
}

// mediaType splits a Content-Type into lower-case type and charset, tolerantly
// (RFC 9110, section 8.3).
func mediaType(s string) (mime, charset string) {
	mime, rest, _ := strings.Cut(s, ";")
	mime = strings.ToLower(strings.TrimSpace(mime))
	if !strings.Contains(mime, "/") {
		mime = ""
	}
	for p := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "charset") {
			charset = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	return cdp.Text(mime), cdp.Text(charset)
}

// hasBody reports whether a request may have a body, as far as its head tells.
func hasBody(r *bus.Request) bool {
	h := headers(r.Headers)
	if n := h.Get("content-length"); n != "" {
		return strings.Trim(n, "0 ") != ""
	}
	if h.Get("transfer-encoding") != "" {
		return true
	}
	if r.Proto == "h2" || r.Proto == "h3" {
		switch r.Method {
		case "POST", "PUT", "PATCH":
			return true
		}
	}
	return false
}

// wantsTrailers reports whether a response announces trailers (RFC 9110,
// section 6.6.2) or is gRPC, which always has them.
func wantsTrailers(h cdp.Headers) bool {
	return h.Get("trailer") != "" || strings.HasPrefix(strings.ToLower(h.Get("content-type")), "application/grpc")
}

// protocolName is how the frontend names the HTTP version.
func protocolName(names ...string) string {
	for _, n := range names {
		if n != "" {
			return strings.ToLower(n)
		}
	}
	return ""
}

// urlHost is the host of an absolute URL, without its port.
func urlHost(s string) string {
	_, s, _ = strings.Cut(s, "://")
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		s = s[:i]
	}
	return strings.Trim(s, "[]")
}

func urlWithoutFragment(s string) string {
	s, _, _ = strings.Cut(s, "#")
	return cdp.Text(s)
}
