// Command tlsdec is the stage that takes TLS off, as a process on the bus.
package main

import (
	"clipper/bus/natsbus"
	"clipper/tlsdec"
)

func main() { natsbus.StageMain("tlsdec", tlsdec.New) }
