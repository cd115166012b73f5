package cdpgw

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"clipper/bus"
	"clipper/cdpgw/internal/bodies"
)

const (
	// bodyWait is how long a call waits for bytes that were announced.
	bodyWait = 3 * time.Second
	// maxReply is the largest body in one answer: larger ones are beyond what a
	// DevTools can show.
	maxReply = 128 << 20
	// maxSearch bounds the bytes that a search looks at, maxLines its hits, and
	// maxLine the length of a shown line.
	maxSearch = 16 << 20
	maxLines  = 500
	maxLine   = 4 << 10
)

// later answers the calls that read bodies, each in a goroutine of its own,
// since bodies may still be on their way.
func (c *client) later(m *call, s *session) {
	select {
	case c.busy <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	go func() {
		defer func() { <-c.busy }()
		if err := c.body(m, s); err != nil {
			c.fail(m, err.Code, err.Message)
		}
	}()
}

func (c *client) body(m *call, s *session) *callError {
	var p struct {
		RequestID     string `json:"requestId"`
		Query         string `json:"query"`
		CaseSensitive bool   `json:"caseSensitive"`
		IsRegex       bool   `json:"isRegex"`
	}
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return &callError{codeParams, "Invalid parameters: " + err.Error()}
	}
	message, note, ok := c.g.lookup(p.RequestID)
	if !ok {
		return &callError{codeServer, "No resource with given identifier found"}
	}
	key := bodies.Key{Conn: message.Conn, Stream: message.Stream, Dir: bus.ServerToClient}
	if m.Method == "Network.getRequestPostData" {
		key.Dir = bus.ClientToServer
	}
	if note != "" { // there is no body; the frontend shows why
		if m.Method == "Network.searchInResponseBody" {
			return c.found(m, []byte(note), p.Query, p.CaseSensitive, p.IsRegex)
		}
		return &callError{codeServer, note + c.g.dump(c.ctx, message.Conn)}
	}
	if m.Method != "Network.streamResourceContent" {
		c.g.bodies.Wait(c.ctx, key, bodyWait)
	}
	n := c.g.bodies.Len(key)
	if m.Method == "Network.searchInResponseBody" {
		n = min(n, maxSearch)
	}
	if n > maxReply {
		return &callError{codeServer, fmt.Sprintf("body of %d bytes is more than DevTools can show (%d)", n, int64(maxReply))}
	}
	data, err := c.g.bodies.Read(nil, key, 0, n)
	if err != nil {
		return &callError{codeServer, err.Error()}
	}
	switch m.Method {
	case "Network.getResponseBody":
		c.sendBody(m, "body", data)
	case "Network.getRequestPostData":
		if len(data) == 0 {
			return &callError{codeServer, "No post data available for the request"}
		}
		c.sendBody(m, "postData", data)
	case "Network.searchInResponseBody":
		return c.found(m, data, p.Query, p.CaseSensitive, p.IsRegex)
	case "Network.streamResourceContent":
		b := encode(struct {
			ID        int64  `json:"id"`
			Result    object `json:"result"`
			SessionID string `json:"sessionId,omitempty"`
		}{*m.ID, object{"bufferedData": append([]byte{}, data...)}, m.SessionID})
		c.send(reply{
			write: func(w io.Writer) error { _, err := w.Write(b); return err },
			then: func() { // in the writer, so that no byte comes twice or not at all
				s.streams[p.RequestID] = &stream{key: key, offset: int64(len(data))}
			},
		})
	}
	return nil
}

// found answers a search.
func (c *client) found(m *call, data []byte, query string, caseSensitive, isRegex bool) *callError {
	lines, err := search(data, query, caseSensitive, isRegex)
	if err != nil {
		return &callError{codeParams, err.Error()}
	}
	c.result(m, object{"result": lines})
	return nil
}

// sendBody answers with a body, as text where it is text, else as base64,
// written piece by piece.
func (c *client) sendBody(m *call, name string, data []byte) {
	text := isText(data)
	c.send(reply{write: func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, `{"id":%d,"result":{"%s":"`, *m.ID, name); err != nil {
			return err
		}
		if text {
			if err := writeText(w, data); err != nil {
				return err
			}
		} else {
			e := base64.NewEncoder(base64.StdEncoding, w)
			if _, err := e.Write(data); err != nil {
				return err
			}
			if err := e.Close(); err != nil {
				return err
			}
		}
		tail := `","base64Encoded":` + strconv.FormatBool(!text) + "}"
		if m.SessionID != "" {
			tail += `,"sessionId":` + strconv.Quote(m.SessionID)
		}
		_, err := io.WriteString(w, tail+"}")
		return err
	}})
}

func isText(b []byte) bool {
	return utf8.Valid(b) && strings.IndexByte(string(b[:min(len(b), 4096)]), 0) < 0
}

// writeText writes UTF-8 as the inside of a JSON string.
func writeText(w io.Writer, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 64<<10)
		for n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		q, err := json.Marshal(string(b[:n]))
		if err != nil {
			return err
		}
		if _, err := w.Write(q[1 : len(q)-1]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// match is Debugger.SearchMatch.
type match struct {
	LineNumber  float64 `json:"lineNumber"`
	LineContent string  `json:"lineContent"`
}

// search finds the lines with a match.
func search(data []byte, query string, caseSensitive, isRegex bool) ([]match, error) {
	out := []match{}
	if query == "" || !utf8.Valid(data) {
		return out, nil
	}
	pattern := query
	if !isRegex {
		pattern = regexp.QuoteMeta(query)
	}
	if !caseSensitive {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("can't search for this expression: %w", err)
	}
	number := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		if at := re.FindStringIndex(line); at != nil {
			if len(line) > maxLine { // around the match
				from := max(0, at[0]-maxLine/4)
				line = strings.ToValidUTF8(line[from:min(len(line), from+maxLine)], "")
			}
			out = append(out, match{float64(number), line})
			if len(out) == maxLines {
				break
			}
		}
		number++
	}
	return out, nil
}
