//go:build linux

// Netd is the network of a sandbox as a program of its own. Its options come in
// the environment variable CLIPPER_ROLE_OPTIONS; see package netd.
package main

import (
	"os"

	"clipper/sandbox/netd"
)

func main() { os.Exit(netd.Main()) }
