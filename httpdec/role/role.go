// Package role runs httpdec as a process of a session.
package role

import (
	"fmt"
	"os"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/httpdec"
	"clipper/httpdec/grpcview"
)

// Options of the role, in natsbus.OptionsEnv.
type Options struct {
	Schema string `json:"schema,omitempty"` // file with what grpcview.Compile gave
}

// Main runs the role and does not return.
func Main() {
	var o Options
	err := natsbus.RoleOptions(&o)
	var h httpdec.Options
	if err == nil && o.Schema != "" {
		h.Schema, err = grpcview.Read(o.Schema)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clipper httpdec:", err)
		os.Exit(1)
	}
	natsbus.StageMain("httpdec", func() bus.Stage { return httpdec.NewWith(h) })
}
