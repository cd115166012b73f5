// Command redisdec is an HTTP decoder that shows Redis commands as well: each
// command is a row in DevTools, its reply the response. It stands in for httpdec:
//
//	clipper up --httpdec ./redisdec -- my-app
//	clipper swap httpdec ./redisdec        # in a session that runs already
//
// It is the example of docs/stages.md.
package main

import "clipper/bus/natsbus"

func main() { natsbus.StageMain("httpdec", newStage) }
