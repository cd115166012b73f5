// Keyhook runs the keyhook role alone.
package main

import (
	"os"

	"clipper/keyhook"
)

func main() { os.Exit(keyhook.Main()) }
