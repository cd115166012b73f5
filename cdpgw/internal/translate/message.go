package translate

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// message shows a message inside an exchange. The protocol has no event for
// gRPC messages; as event stream messages the frontend lists them.
func (x *exchange) message(e *bus.Event) {
	m := e.Message
	switch {
	case m.Kind == "websocket" && x.websocket != nil:
		x.websocket.frame(e)
	case m.Kind == "sse" && !x.finished:
		name := m.Event
		if name == "" {
			name = "message"
		}
		x.event("Network.eventSourceMessageReceived", cdp.EventSourceMessageReceived{
			RequestID: x.id, Timestamp: seconds(e.Time), EventName: cdp.Text(name), EventID: cdp.Text(m.ID), Data: cdp.Text(m.Text),
		})
	case m.Kind == "grpc" && !x.finished:
		x.messages++
		name := "received"
		if e.Dir == bus.ClientToServer {
			name = "sent"
		}
		text := m.Text
		if text == "" && len(m.Binary) > 0 {
			text = "hex " + hex.EncodeToString(m.Binary)
		}
		if problem := messageProblem(m); problem != "" {
			text += "\n(" + problem + ")"
		}
		x.event("Network.eventSourceMessageReceived", cdp.EventSourceMessageReceived{
			RequestID: x.id, Timestamp: seconds(e.Time), EventName: name, EventID: strconv.Itoa(x.messages), Data: cdp.Text(text),
		})
	}
}

// messageProblem says what is wrong with a message, or that only its beginning
// is there.
func messageProblem(m *bus.Message) string {
	if m.Problem != "" {
		return m.Problem
	}
	if m.Cut {
		return fmt.Sprintf("Clipper keeps only the beginning of this message of %d bytes", m.Size)
	}
	return ""
}
