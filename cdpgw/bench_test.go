package cdpgw

import (
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/bus"

	"github.com/gorilla/websocket"
)

// BenchmarkEvent is the cost of one protocol event: translation and encoding.
func BenchmarkEvent(b *testing.B) {
	g := start(b, Options{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%6 == 0 { // an exchange is six events
			exchange(g, n/6, "body")
		}
		n++
	}
}

// BenchmarkReplay is what an attached raw client gets, in events.
func BenchmarkReplay(b *testing.B) {
	g := start(b, Options{MaxHistory: 1 << 30})
	const exchanges = 20000
	for i := range exchanges {
		exchange(g, i, "body")
	}
	b.ResetTimer()
	events := 0
	for b.Loop() {
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+g.host()+"/devtools/page/"+secret, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"id":1,"method":"Network.enable"}`)); err != nil {
			b.Fatal(err)
		}
		for range exchanges*6 + 1 {
			if _, _, err := ws.ReadMessage(); err != nil {
				b.Fatal(err)
			}
			events++
		}
		ws.Close()
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLatency is the time from a record to the WebSocket frame at 1,000
// exchanges a second.
func BenchmarkLatency(b *testing.B) {
	g := start(b, Options{})
	p := attach(b, g)
	p.call("Network.enable", nil)
	var took []time.Duration
	n := 0
	for b.Loop() {
		began := time.Now()
		exchange(g, n, "body")
		for {
			if m := p.read(); m.Method == "Network.loadingFinished" && strings.Contains(string(m.Params), exchangeID(n)) {
				break
			}
		}
		took = append(took, time.Since(began))
		n++
		time.Sleep(max(0, time.Millisecond-time.Since(began)))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkBodies is the cost of storing 16 KiB of a body, spilled.
func BenchmarkBodies(b *testing.B) {
	g := start(b, Options{BodyMemory: 8 << 20, BodyDisk: 256 << 20})
	data := []byte(strings.Repeat("0123456789abcdef", 1024))
	b.SetBytes(int64(len(data)))
	n := 0
	for b.Loop() {
		g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: bus.ConnID(n / 4), Stream: 1, Offset: uint64(n%4) * uint64(len(data)), Payload: data})
		n++
	}
}
