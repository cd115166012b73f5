package cli

import (
	"fmt"
	"io"
	"time"

	"clipper/bus"
	"clipper/internal/sink"
	"clipper/internal/tcpdump"
	"clipper/sandbox/pcapng"
)

// printFrame prints a frame as tcpdump does.
func printFrame(w io.Writer, r *bus.Record) {
	at := time.Unix(0, r.Time).Format("15:04:05.000000")
	if r.Type == bus.Dropped {
		fmt.Fprintf(w, "%s %d packets were not captured\n", at, r.Aux)
		return
	}
	fmt.Fprintf(w, "%s %s\n", at, tcpdump.Line(uint16(r.Type), r.Payload, int(r.Aux)))
}

// newFrameFile begins a pcapng of the frames of a running session. It has no
// secrets, which no tap can read.
func newFrameFile(w io.Writer) (*pcapng.Writer, error) {
	return pcapng.NewWriter(w, pcapng.Options{Directed: true, InterfaceName: sink.InterfaceName})
}
