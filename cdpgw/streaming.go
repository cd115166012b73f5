package cdpgw

import (
	"io"
	"time"

	"clipper/cdpgw/internal/cdp"
)

// streamChunk is the most bytes of a body in one event.
const streamChunk = 256 << 10

// pumpStreams writes the bytes that came for the responses which the client
// streams. The lengths of these events are 0: those of the log count them.
func (c *client) pumpStreams(s *session) error {
	for id, st := range s.streams {
		for st.offset < c.g.bodies.Len(st.key) {
			b, err := c.g.bodies.Read(nil, st.key, st.offset, streamChunk)
			if err != nil || len(b) == 0 {
				delete(s.streams, id)
				break
			}
			st.offset += int64(len(b))
			d := cdp.DataReceived{RequestID: id, Timestamp: float64(time.Now().UnixMicro()) / 1e6, Data: b}
			text := append([]byte(`"method":"Network.dataReceived","params":`), encode(d)...)
			if err := c.message(func(w io.Writer) error { return writeEvent(w, text, s.id) }); err != nil {
				return err
			}
		}
	}
	return nil
}
