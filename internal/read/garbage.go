package read

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// garbage paces the collector. Decoding makes much garbage of a small state, as a
// rule; to collect it each time that the heap has doubled costs a third of the
// time. But the state of many connections is large, and need not be had twice.
type garbage struct {
	live    [1]metrics.Sample
	percent int
	off     bool // the user has an own opinion
}

// garbageRoom is the heap, in bytes, that garbage may take.
const garbageRoom = 32 << 20

func newGarbage() *garbage {
	return &garbage{live: [1]metrics.Sample{{Name: "/gc/heap/live:bytes"}}, off: os.Getenv("GOGC") != ""}
}

// pace is to be called now and then.
func (g *garbage) pace() {
	if g.off {
		return
	}
	metrics.Read(g.live[:])
	live := g.live[0].Value.Uint64()
	percent := int(min(max(garbageRoom*100/max(live, 1), 25), 400))
	if d := percent - g.percent; d > percent/4 || -d > percent/4 {
		g.percent = percent
		debug.SetGCPercent(percent)
	}
}
