// Command reassembler is the reassembler role of a Clipper session: it takes
// frames from the bus and gives TCP streams and UDP datagrams.
package main

import (
	"fmt"
	"os"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/reassembler"
)

func main() {
	access, err := natsbus.AccessFromEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reassembler:", err)
		os.Exit(1)
	}
	natsbus.StageMain("reassembler", func() bus.Stage { return reassembler.New(access.Session) })
}
