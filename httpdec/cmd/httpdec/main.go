// Command httpdec is the role httpdec as a process of its own: bus.Plain in,
// bus.HTTP and bus.Body out.
package main

import (
	"clipper/bus/natsbus"
	"clipper/httpdec"
)

func main() { natsbus.StageMain("httpdec", httpdec.New) }
