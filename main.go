// Clipper shows the HTTP traffic of any native program in Chrome DevTools. This
// is the front door: the command line, and, by running itself again, every
// process of a session.
package main

import (
	"context"
	"os"

	"clipper/internal/cli"
)

func main() {
	cli.Role(os.Args[1:])
	os.Exit(cli.Main(context.Background(), os.Args[1:]))
}
