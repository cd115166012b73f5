package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/cdpgw"
	"clipper/httpdec/role"
	"clipper/internal/session"
	"clipper/internal/up"
	"clipper/keyhook"
	"clipper/reassembler"
	"clipper/sandbox"
	"clipper/sandbox/capture"
	"clipper/sandbox/netd"
	"clipper/tlsdec"
)

// Role runs this process as one role of a session, when args names one.
// `clipper up` starts the others of its kind by running itself.
func Role(args []string) {
	if len(args) != 1 {
		return
	}
	switch args[0] {
	case "netd", "capture", "keyhook":
		if os.Getenv(natsbus.OptionsEnv) == "" {
			fmt.Fprintf(os.Stderr, "clipper: %s is a process of a session, and started by 'clipper up', not by hand\n", args[0])
			os.Exit(exitUsage)
		}
	}
	switch args[0] {
	case "stage1":
		sandbox.Stage1(keyhook.Install)
	case "netd":
		os.Exit(netd.Main())
	case "capture":
		os.Exit(capture.Main())
	case "keyhook":
		os.Exit(keyhook.Main())
	case up.SweepRole:
		if access := os.Getenv(natsbus.AccessEnv); access != "" { // of the session that netd belonged to
			session.AwaitEnd(filepath.Dir(access))
		}
		if err := up.Sweep(session.Base()); err != nil {
			fmt.Fprintln(os.Stderr, "clipper sweep:", err)
			os.Exit(1)
		}
	case "cdpgw":
		os.Exit(cdpgw.Main())
	case "reassembler":
		a, err := natsbus.AccessFromEnv()
		if err != nil {
			fmt.Fprintln(os.Stderr, "clipper reassembler:", err)
			os.Exit(1)
		}
		natsbus.StageMain("reassembler", func() bus.Stage { return reassembler.New(a.Session) })
	case "tlsdec":
		natsbus.StageMain("tlsdec", func() bus.Stage { return tlsdec.New() })
	case "httpdec":
		role.Main()
	default:
		return
	}
	os.Exit(0)
}
