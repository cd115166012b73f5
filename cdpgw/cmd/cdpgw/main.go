// Command cdpgw is the DevTools gateway role alone.
package main

import (
	"os"

	"clipper/cdpgw"
)

func main() { os.Exit(cdpgw.Main()) }
