package httpdec

import (
	"bytes"

	"golang.org/x/net/http2"

	"clipper/bus"
)

// maxFrame is the longest frame that is taken for one while the next frame is
// searched for: the default of SETTINGS_MAX_FRAME_SIZE (RFC 9113, section 6.5.2).
const maxFrame = 16 << 10

// resync searches for a frame that is followed by another one, and goes on there.
// Each test takes the whole header, so that it hits nothing else by chance: of
// 2^72 headers, fewer than 2^35 are possible.
// At the end of the direction, last, a single frame is enough if nothing follows.
func (h *http2Conn) resync(s *http2Side, dir bus.Dir, p []byte, t int64, last bool) {
	s.found = append(s.found, p...)
	b := s.found
	for len(b) > 0 {
		n, undecided := h.frameAt(b, dir)
		// Records of a connection from the middle mostly begin and end as frames do.
		whole := n == len(b) && (last || h.c.facts.Partial)
		if undecided && !last && !whole {
			break
		}
		if last && !whole {
			n = 0
		}
		if n == 0 {
			b = b[1:]
			continue
		}
		s.search, s.found = false, nil
		for len(b) > 0 && !s.search {
			b = b[h.data(dir, b, t, true):]
		}
		return
	}
	s.found = append(s.found[:0], b...)
}

// frameAt reports whether b begins with a frame and the header of another one,
// and the length of the first; undecided when b is too short to tell.
func (h *http2Conn) frameAt(b []byte, dir bus.Dir) (n int, undecided bool) {
	if dir == bus.ClientToServer && hasPrefix(b, clientPreface) {
		if len(b) < len(clientPreface) {
			return 0, true
		}
		h.sides[dir].preface = 0
		return len(clientPreface), false
	}
	if !possibleHeader(b) {
		return 0, false
	}
	if len(b) < frameHeaderLen {
		return 0, true
	}
	f := parseFrameHeader(b)
	n = frameHeaderLen + int(f.Length)
	if !possibleFrame(f, h.highest) || len(b) > n && !possibleHeader(b[n:]) {
		return 0, false
	}
	if len(b) < n+frameHeaderLen {
		return n, true
	}
	if !possibleFrame(parseFrameHeader(b[n:]), h.highest) {
		return 0, false
	}
	return n, false
}

// possibleHeader looks at as much of a frame header as there is.
func possibleHeader(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && (len(b) < 2 || b[1] <= maxFrame>>8) && (len(b) < 4 || b[3] <= byte(http2.FrameContinuation)) &&
		(len(b) < 6 || b[5]&0xc0 == 0)
}

// aheadLimit is how far beyond the highest stream a new one may be.
const aheadLimit = 1 << 16

// possibleFrame reports whether RFC 9113, section 6, allows such a header.
func possibleFrame(f http2.FrameHeader, highest uint64) bool {
	flags := func(allowed http2.Flags) bool { return f.Flags&^allowed == 0 }
	stream := f.StreamID != 0 && (highest == 0 || uint64(f.StreamID) <= highest+aheadLimit)
	if f.Length > maxFrame {
		return false
	}
	switch f.Type {
	case http2.FrameData:
		return stream && flags(http2.FlagDataEndStream|http2.FlagDataPadded)
	case http2.FrameHeaders:
		return stream && f.Length > 0 && flags(http2.FlagHeadersEndStream|http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded|http2.FlagHeadersPriority)
	case http2.FramePriority:
		return stream && f.Length == 5 && flags(0)
	case http2.FrameRSTStream:
		return stream && f.Length == 4 && flags(0)
	case http2.FrameSettings:
		return f.StreamID == 0 && f.Length%6 == 0 && flags(http2.FlagSettingsAck) && (f.Flags == 0 || f.Length == 0)
	case http2.FramePing:
		return f.StreamID == 0 && f.Length == 8 && flags(http2.FlagPingAck)
	case http2.FrameGoAway:
		return f.StreamID == 0 && f.Length >= 8 && flags(0)
	case http2.FrameWindowUpdate:
		return f.Length == 4 && flags(0) && (f.StreamID == 0 || stream)
	}
	return false
}

// startsFrames reports whether a record in the middle of a connection begins with
// two frames of HTTP/2, or with one that fills it.
func startsFrames(p []byte) bool {
	if len(p) < frameHeaderLen || bytes.Count(p[:frameHeaderLen], []byte{0}) == frameHeaderLen {
		return false
	}
	f := parseFrameHeader(p)
	rest := len(p) - frameHeaderLen - int(f.Length)
	if !possibleHeader(p) || !possibleFrame(f, 0) || rest != 0 && rest < frameHeaderLen {
		return false
	}
	return rest == 0 || possibleHeader(p[len(p)-rest:]) && possibleFrame(parseFrameHeader(p[len(p)-rest:]), 0)
}
