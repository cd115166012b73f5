package translate

import (
	"encoding/base64"
	"strings"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// isWebSocket reports whether r opens a WebSocket: an upgrade (RFC 6455,
// section 4.1) or an extended CONNECT (RFC 8441, section 4).
func isWebSocket(r *bus.Request) bool {
	h := headers(r.Headers)
	if r.Method == "CONNECT" {
		return h.Get(":protocol") == "websocket"
	}
	return h.Has("upgrade", "websocket")
}

// handshake is the WebSocket side of an exchange.
type handshake struct {
	x        *exchange
	answered bool
	closed   bool
}

func (x *exchange) openWebSocket() {
	x.websocket = &handshake{x: x}
	address := urlWithoutFragment(x.request.URL)
	switch {
	case strings.HasPrefix(address, "http://"):
		address = "ws://" + address[len("http://"):]
	case strings.HasPrefix(address, "https://"):
		address = "wss://" + address[len("https://"):]
	}
	x.event("Network.webSocketCreated", cdp.WebSocketCreated{RequestID: x.id, URL: address, Initiator: x.c.process.initiator()})
	at := seconds(x.begun)
	x.event("Network.webSocketWillSendHandshakeRequest", cdp.WebSocketWillSendHandshakeRequest{
		RequestID: x.id, Timestamp: at, WallTime: at, Request: cdp.WebSocketRequest{Headers: x.sent},
	})
}

func (w *handshake) response(e *bus.Event) {
	if w.answered {
		return
	}
	w.answered = true
	x, r := w.x, e.Response
	raw := x.request.Raw
	if raw == "" { // HTTP/2: an empty text would leave the request headers provisional
		raw = headText(x.request.Method+" "+x.request.Target, x.request.Headers)
	}
	x.event("Network.webSocketHandshakeResponseReceived", cdp.WebSocketHandshakeResponseReceived{
		RequestID: x.id, Timestamp: seconds(max(e.Time, r.HeadEnd)),
		Response: cdp.WebSocketResponse{
			Status: r.Status, StatusText: cdp.Text(r.Reason), Headers: responseHeaders(r.Headers), HeadersText: cdp.Text(r.Raw),
			RequestHeaders: x.sent, RequestHeadersText: cdp.Text(raw),
		},
	})
}

func headText(first string, fields []bus.Field) string {
	var b strings.Builder
	b.WriteString(first + "\r\n")
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String() + "\r\n"
}

func (w *handshake) frame(e *bus.Event) {
	if w.closed {
		return
	}
	m := e.Message
	x := w.x
	f := cdp.WebSocketFrame{Opcode: m.Opcode, Mask: m.Masked}
	if m.Opcode == 1 {
		f.PayloadData = cdp.Text(m.Text)
		if m.Text == "" && len(m.Binary) > 0 {
			f.PayloadData = cdp.Text(string(m.Binary))
		}
	} else {
		payload := m.Binary
		if payload == nil {
			payload = []byte(m.Text)
		}
		f.PayloadData = base64.StdEncoding.EncodeToString(payload)
	}
	method := "Network.webSocketFrameReceived"
	if e.Dir == bus.ClientToServer {
		method = "Network.webSocketFrameSent"
	}
	x.event(method, cdp.WebSocketFrameEvent{RequestID: x.id, Timestamp: seconds(e.Time), Response: f})
	if problem := messageProblem(m); problem != "" {
		x.event("Network.webSocketFrameError", cdp.WebSocketFrameError{RequestID: x.id, Timestamp: seconds(e.Time), ErrorMessage: problem})
	}
}

func (w *handshake) close(at int64, failure string) {
	if w.closed {
		return
	}
	w.closed = true
	x := w.x
	if failure != "" {
		x.event("Network.webSocketFrameError", cdp.WebSocketFrameError{RequestID: x.id, Timestamp: seconds(at), ErrorMessage: failure})
	}
	x.event("Network.webSocketClosed", cdp.WebSocketClosed{RequestID: x.id, Timestamp: seconds(at)})
	x.finished = true
}
