package cli

import (
	"encoding/json"
	"fmt"

	"clipper/sandbox/doctor"

	"github.com/spf13/cobra"
)

// doctorReport is what --json prints.
type doctorReport struct {
	Probes []doctor.Finding `json:"probes"`
	Limits []string         `json:"limits"` // what cannot work anywhere
}

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "What this machine allows, and the one command that fixes what it doesn't",
		Args:  exactly(0, "doctor takes no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			findings := doctor.Examine(doctor.Options{})
			out := c.OutOrStdout()
			if asJSON {
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				if err := e.Encode(doctorReport{findings, doctor.Limits}); err != nil {
					return err
				}
			}
			broken := false
			for _, f := range findings {
				broken = broken || f.Needed && f.Status == doctor.Missing
				if asJSON {
					continue
				}
				fmt.Fprintf(out, "%-8s %s", f.Status, f.Title)
				if f.Detail != "" {
					fmt.Fprintf(out, ": %s", f.Detail)
				}
				fmt.Fprintln(out)
				if f.Status != doctor.OK {
					fmt.Fprintf(out, "         without it: %s\n         fix: %s\n", f.Breaks, f.Fix)
				}
			}
			if !asJSON {
				fmt.Fprintln(out, "\nwhat cannot work under clipper up:")
				for _, l := range doctor.Limits {
					fmt.Fprintf(out, "  - %s\n", l)
				}
			}
			if broken {
				return &status{1, nil}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}
