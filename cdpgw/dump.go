package cdpgw

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"clipper/bus"
)

// Limits on the bytes of a connection that is not HTTP.
const (
	maxDump  = 64 << 10 // bytes shown, both directions
	dumpWait = 3 * time.Second
)

// dump is the bytes of a connection in hex and text, in the order of the
// capture; "" where they can't be had.
func (g *Gateway) dump(ctx context.Context, conn bus.ConnID) string {
	plain := g.o.Plain
	if plain == nil {
		plain = g.plain.read
	}
	ctx, cancel := context.WithTimeout(ctx, dumpWait)
	defer cancel()
	var b strings.Builder
	shown := 0
	err := plain(ctx, conn, func(r *bus.Record) bool {
		switch r.Type {
		case bus.Data:
			p := r.Payload[:min(len(r.Payload), maxDump-shown)]
			shown += len(p)
			dumpRecord(&b, r, fmt.Sprintf("%d bytes", len(r.Payload)), p)
		case bus.Gap:
			dumpRecord(&b, r, fmt.Sprintf("%d bytes were not captured", r.Aux), nil)
		}
		return shown < maxDump
	})
	switch {
	case shown >= maxDump:
		fmt.Fprintf(&b, "\nOnly the first %d bytes are shown; clipper tap plain has them all.\n", maxDump)
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintf(&b, "\nThe bytes can't be read: %v\n", err)
	}
	return b.String()
}

func dumpRecord(b *strings.Builder, r *bus.Record, what string, p []byte) {
	arrow := "-> client to server"
	if r.Dir == bus.ServerToClient {
		arrow = "<- server to client"
	}
	fmt.Fprintf(b, "\n%s  %s  at %d: %s\n%s", time.Unix(0, r.Time).UTC().Format("15:04:05.000000"), arrow, r.Offset, what, hex.Dump(p))
}
