package cli

import (
	"os"

	"clipper/internal/demo"
	"clipper/internal/up"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Environment of the demo's client.
const (
	demoURL = "CLIPPER_DEMO_URL"
	demoCA  = "CLIPPER_DEMO_CA"
)

func newDemo() *cobra.Command {
	var o up.Options
	var ch *choice
	c := &cobra.Command{
		Use:   "demo [flags]",
		Short: "A self-contained example: a server, a client, and what they say to each other",
		Long: `Starts a small HTTPS server on this machine and runs a client for it under
'clipper up': HTTP/1.1 and HTTP/2, JSON, an image, POST, a redirect, a 404, gzip and
a slow response. No network is needed.

On a terminal DevTools stays up afterwards, until Ctrl-C.`,
		Args: exactly(0, "demo takes no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			exe, err := self()
			if err != nil {
				return err
			}
			srv, err := demo.Start()
			if err != nil {
				return err
			}
			defer srv.Close()
			o.Command = []string{exe, "demo-client"}
			o.Env = []string{demoURL + "=" + srv.URL, demoCA + "=" + string(srv.CA)}
			if none, _ := c.Flags().GetBool("no-devtools"); !none && !c.Flags().Changed("stay") {
				o.Stay = term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
			}
			return runUp(c, o, ch)
		},
	}
	ch = upFlags(c, &o)
	return c
}

func newDemoClient() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-client",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), os.Getenv(demoURL), []byte(os.Getenv(demoCA)), c.OutOrStdout())
		},
	}
}
