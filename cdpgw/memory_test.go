package cdpgw

import (
	"flag"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

var long = flag.Bool("long", false, "let tests take a minute")

// Memory stays bounded whatever the session's size.
func TestMemory(t *testing.T) {
	exchanges := 40_000
	if *long {
		exchanges = 400_000
	}
	g := start(t, Options{})
	body := strings.Repeat("0123456789abcdef", 256)
	for n := range exchanges {
		exchange(g, n, body)
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d exchanges with 4 KiB each: %d MB alive", exchanges, m.HeapAlloc>>20)
	if m.HeapAlloc > 100<<20 {
		t.Errorf("%d bytes alive", m.HeapAlloc)
	}
	p := attach(t, g)
	p.call("Network.enable", nil)
	p.event("Network.requestWillBeSent")
}
