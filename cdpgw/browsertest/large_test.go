package browsertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/cdpgw"
	"clipper/cdpgw/internal/fixture"
)

// bulk feeds n small exchanges over a few connections.
func bulk(g *cdpgw.Gateway, n int) {
	line := func(e bus.Event) {
		g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: e.Conn, Event: &e})
	}
	for c := range 8 {
		line(bus.Event{Type: bus.EventConnection, Time: fixture.Base, Conn: bus.ConnID(c + 1), Connection: &bus.Connection{
			Flow: bus.Flow{Transport: "tcp"}, Opened: fixture.Base, Established: fixture.Base + 1e6,
			TLS: &bus.TLSInfo{Version: "TLS 1.3", SNI: "bulk.example.test", PID: 7, Executable: "/bin/app", Started: fixture.Base + 1e6, Finished: fixture.Base + 2e6}}})
	}
	for i := range n {
		c, stream, at := bus.ConnID(i%8+1), uint64(2*i+1), fixture.Base+int64(i)*1e6
		line(bus.Event{Type: bus.EventRequest, Time: at, Conn: c, Stream: stream, Request: &bus.Request{Method: "GET", URL: fmt.Sprintf("https://bulk.example.test/item/%d", i), Proto: "h2", HeadEnd: at,
			Headers: []bus.Field{{Name: ":method", Value: "GET"}, {Name: ":authority", Value: "bulk.example.test"}, {Name: ":path", Value: "/item"}, {Name: "user-agent", Value: "app/1"}}}})
		line(bus.Event{Type: bus.EventEnd, Time: at, Conn: c, Stream: stream, End: &bus.MessageEnd{}})
		line(bus.Event{Type: bus.EventResponse, Time: at + 3e6, Conn: c, Stream: stream, Response: &bus.Response{Status: 200, Proto: "h2", HeadersSize: 60, HeadEnd: at + 3e6,
			Headers: []bus.Field{{Name: "content-type", Value: "application/json"}, {Name: "server", Value: "madeup"}}}})
		line(bus.Event{Type: bus.EventData, Time: at + 4e6, Conn: c, Stream: stream, Dir: bus.ServerToClient, Data: &bus.BodyData{Decoded: 9, Wire: 9}})
		line(bus.Event{Type: bus.EventEnd, Time: at + 4e6, Conn: c, Stream: stream, Dir: bus.ServerToClient, End: &bus.MessageEnd{Decoded: 9, Wire: 9}})
	}
}

// A large session stays usable: the newest exchanges, a visible note about the
// others, and a page for each part of them.
func TestLargeSession(t *testing.T) {
	g := gatewayWith(t, cdpgw.Options{MaxHistory: 500}, "h2-get")
	bulk(g, 1200)
	b := chromium(t)
	wait := func(summary string) {
		t.Helper()
		began := time.Now()
		var got string
		for !strings.Contains(got, summary) {
			if got = b.Text("clipperTest.summary()"); b.ctx.Err() != nil || time.Since(began) > 100*time.Second {
				b.shot("large")
				t.Fatalf("no %q in: %s", summary, got)
			}
			time.Sleep(200 * time.Millisecond)
		}
		t.Logf("%s after %v", summary, time.Since(began))
	}
	b.open(g.Status().URL, 5)
	wait("501 requests")
	b.shot("large")
	b.open(g.Status().URL+secretOf(g)+"/?page=1", 5)
	wait("500 requests")
}

// secretOf finds the secret path in the DevTools URL.
func secretOf(g *cdpgw.Gateway) string {
	_, s, _ := strings.Cut(g.Status().DevToolsURL, "/devtools/page/")
	s, _, _ = strings.Cut(s, "&")
	return s
}
