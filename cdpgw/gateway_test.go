package cdpgw

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/fixture"

	"github.com/gorilla/websocket"
)

const secret = "test-secret-path-0123456789"

func start(t testing.TB, o Options) *Gateway {
	t.Helper()
	if o.SecretPath == "" {
		o.SecretPath = secret
	}
	if o.SessionDir == "" {
		o.SessionDir = t.TempDir()
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// play feeds fixtures; waits are skipped, and everything held is let go at the end.
func play(t testing.TB, g *Gateway, names ...string) {
	t.Helper()
	for _, n := range names {
		steps, err := fixture.Read(filepath.Join("testdata", n+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if s.Record != nil {
				g.Process(s.Record)
			}
		}
	}
	g.Flush()
}

// peer is a raw CDP client.
type peer struct {
	t      testing.TB
	ws     *websocket.Conn
	next   int
	events []message // that came while an answer was awaited
}

type message struct {
	ID        int             `json:"id"`
	Method    string          `json:"method"`
	Params    json.RawMessage `json:"params"`
	Result    json.RawMessage `json:"result"`
	Error     *callError      `json:"error"`
	SessionID string          `json:"sessionId"`
}

func (g *Gateway) host() string { return g.ln.Addr().String() }

func dial(t testing.TB, g *Gateway, path string) *peer { return dialAddr(t, g.host(), path) }

func dialAddr(t testing.TB, addr, path string) *peer {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &peer{t: t, ws: ws}
}

func attach(t testing.TB, g *Gateway) *peer { return dial(t, g, "/devtools/page/"+secret) }

func (p *peer) read() message {
	p.t.Helper()
	_ = p.ws.SetReadDeadline(time.Now().Add(time.Minute))
	_, b, err := p.ws.ReadMessage()
	if err != nil {
		p.t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		p.t.Fatalf("%v: %.200s", err, b)
	}
	return m
}

func (p *peer) send(raw string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(raw)); err != nil {
		p.t.Fatal(err)
	}
}

// call returns the answer to a method.
func (p *peer) call(method string, params any) message {
	p.t.Helper()
	return p.callIn("", method, params)
}

func (p *peer) callIn(session, method string, params any) message {
	p.t.Helper()
	p.next++
	m := map[string]any{"id": p.next, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	b, _ := json.Marshal(m)
	p.send(string(b))
	for {
		if r := p.read(); r.ID == p.next {
			return r
		} else if r.Method != "" {
			p.events = append(p.events, r)
		}
	}
}

// event waits for the next event with a method; the others are dropped.
func (p *peer) event(method string) message {
	p.t.Helper()
	for {
		var m message
		if len(p.events) > 0 {
			m, p.events = p.events[0], p.events[1:]
		} else {
			m = p.read()
		}
		if m.Method == method {
			return m
		}
	}
}

func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.DefaultTransport.RoundTrip(must(http.NewRequest(http.MethodGet, url, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r, readAll(r)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// exchange feeds one small HTTP/1 exchange over a connection of a known process.
func exchange(g *Gateway, n int, body string) {
	c := bus.ConnID(0x1000 + n)
	at := fixture.Base + int64(n)*1e6
	line := func(e *bus.Event) { g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: c, Event: e}) }
	line(&bus.Event{Type: bus.EventConnection, Time: at, Conn: c, Connection: &bus.Connection{Flow: bus.Flow{Transport: "tcp"}, Opened: at,
		TLS: &bus.TLSInfo{Version: "TLS 1.3", SNI: "x.example.test", PID: 77, Executable: "/bin/app"}}})
	line(&bus.Event{Type: bus.EventRequest, Time: at, Conn: c, Stream: 1, Request: &bus.Request{Method: "GET", URL: fmt.Sprintf("https://x.example.test/%d", n), Proto: "http/1.1",
		Headers: []bus.Field{{Name: "Host", Value: "x.example.test"}, {Name: "Accept", Value: "*/*"}}, HeadEnd: at}})
	line(&bus.Event{Type: bus.EventEnd, Time: at, Conn: c, Stream: 1, End: &bus.MessageEnd{}})
	line(&bus.Event{Type: bus.EventResponse, Time: at + 1e5, Conn: c, Stream: 1, Response: &bus.Response{Status: 200, Proto: "http/1.1",
		Headers: []bus.Field{{Name: "Content-Type", Value: "text/plain"}}, HeadersSize: 40, HeadEnd: at + 1e5}})
	size := uint64(len(body))
	line(&bus.Event{Type: bus.EventData, Time: at + 2e5, Conn: c, Stream: 1, Dir: bus.ServerToClient, Data: &bus.BodyData{Decoded: size, Wire: size}})
	g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: c, Stream: 1, Dir: bus.ServerToClient, Payload: []byte(body)})
	line(&bus.Event{Type: bus.EventEnd, Time: at + 2e5, Conn: c, Stream: 1, Dir: bus.ServerToClient, End: &bus.MessageEnd{Decoded: size, Wire: size}})
	line(&bus.Event{Type: bus.EventClosed, Time: at + 3e5, Conn: c, Closed: &bus.ConnEnd{Reason: bus.EndFIN}})
}

func exchangeID(n int) string { return fmt.Sprintf("%016x.1", 0x1000+n) }
