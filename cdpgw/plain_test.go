package cdpgw

import (
	"context"
	"strings"
	"testing"

	"clipper/bus"
)

// A gateway that gets the layer Plain shows what was said on a connection that
// is not HTTP.
func TestPlain(t *testing.T) {
	g := start(t, Options{})
	plain := func(conn bus.ConnID, d bus.Dir, offset uint64, s string) {
		g.Process(&bus.Record{Layer: bus.Plain, Type: bus.Data, Conn: conn, Dir: d, Offset: offset, Time: 1e18, Payload: []byte(s)})
	}
	open := func(conn bus.ConnID) {
		g.Process(record(bus.Event{Type: bus.EventConnection, Conn: conn, Connection: &bus.Connection{Flow: flow("10.0.2.15:1", "192.0.2.1:6379")}}))
	}
	open(1)
	plain(1, bus.ClientToServer, 0, "PING\r\n")
	g.Process(&bus.Record{Layer: bus.Plain, Type: bus.Gap, Conn: 1, Dir: bus.ServerToClient, Aux: 7})
	plain(1, bus.ServerToClient, 7, "PONG\r\n")
	g.Process(record(bus.Event{Type: bus.EventVerdict, Conn: 1, Verdict: &bus.Verdict{Code: bus.VerdictNotHTTP, Reason: "plain text, but not HTTP"}}))
	open(2)
	plain(2, bus.ClientToServer, 0, "GET / HTTP/1.1\r\n\r\n")
	g.Process(record(bus.Event{Type: bus.EventRequest, Conn: 2, Stream: 1, Request: &bus.Request{Method: "GET", URL: "http://192.0.2.1/"}}))
	plain(2, bus.ClientToServer, 18, "GET /2 HTTP/1.1\r\n\r\n")
	g.Process(&bus.Record{Layer: bus.Plain, Type: bus.End, Conn: 2})
	if len(g.plain.conns) != 1 || g.plain.size != 12+4*plainCost {
		t.Errorf("%d connections, %d bytes are kept", len(g.plain.conns), g.plain.size)
	}
	r := attach(t, g).call("Network.getResponseBody", params{"requestId": "0000000000000001.c"})
	if r.Error == nil {
		t.Fatal("there is a body")
	}
	for _, want := range []string{"plain text, but not HTTP", "-> client to server  at 0: 6 bytes", "|PING..|", "7 bytes were not captured", "<- server to client  at 7: 6 bytes", "|PONG..|"} {
		if !strings.Contains(r.Error.Message, want) {
			t.Errorf("no %q in: %s", want, r.Error.Message)
		}
	}
}

func TestPlainIsBounded(t *testing.T) {
	var s plainStore
	big := make([]byte, maxDump)
	for i := range 1000 {
		for range 3 {
			s.add(&bus.Record{Type: bus.Data, Conn: bus.ConnID(i), Payload: big})
		}
	}
	if s.size > maxPlain || s.size < maxPlain/2 || len(s.conns) != s.age.Len() {
		t.Errorf("%d bytes of %d connections", s.size, len(s.conns))
	}
	n := 0
	s.read(context.Background(), 999, func(r *bus.Record) bool { n += len(r.Payload); return true })
	if n != maxDump+1 { // one more, so that the end is known to be missing
		t.Errorf("%d bytes of the newest", n)
	}
	// Neither are records without bytes, nor connections of a byte.
	for i := range 3 * maxRecords {
		s.add(&bus.Record{Type: bus.Gap, Conn: 2000, Aux: 1})
		s.add(&bus.Record{Type: bus.Data, Conn: bus.ConnID(3000 + i), Payload: big[:1]})
	}
	if n := len(s.conns); s.size > maxPlain || n*2*plainCost > maxPlain {
		t.Errorf("%d connections", n)
	}
	n = 0
	var gaps plainStore
	for range 2 * maxRecords {
		gaps.add(&bus.Record{Type: bus.Gap, Conn: 1, Aux: 1})
	}
	gaps.read(context.Background(), 1, func(*bus.Record) bool { n++; return true })
	if n != maxRecords {
		t.Errorf("%d records of one connection", n)
	}
	if s.read(context.Background(), 0, func(*bus.Record) bool { t.Error("the oldest is there"); return false }) != nil {
		t.Error("unexpected")
	}
}
