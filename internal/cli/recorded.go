package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"clipper/internal/recorded"
	"clipper/internal/term"

	"github.com/spf13/cobra"
)

// recordedNames completes the names of recorded sessions.
func recordedNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, _ := recorded.List()
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newOpen() *cobra.Command {
	var g reading
	var none bool
	c := &cobra.Command{
		Use:   "open [flags] NAME",
		Short: "Show a recorded session in DevTools",
		Long: `Opens a session that 'clipper up --keep NAME' recorded: it is decoded anew and shown
in DevTools, until Ctrl-C, and written to the files that are asked for.`,
		Example: `  clipper up --keep monday -- ./my-app
  clipper open monday
  clipper open --tui monday
  clipper open --no-devtools --expect 'status < 500' monday`,
		Args:              exactly(1, "open needs the name of a recorded session: clipper open NAME ('clipper ls' lists them)"),
		ValidArgsFunction: recordedNames,
		RunE: func(c *cobra.Command, args []string) error {
			f, path, err := recorded.Find(args[0])
			if err != nil {
				return err
			}
			g.show, g.title = !none && !g.tui, strings.Join(f.Command, " ")
			if g.devtools == "" {
				g.devtools = defaultReadAddress
			}
			return g.run(c.Context(), path)
		},
	}
	f := c.Flags()
	g.outputFlags(f)
	g.viewFlags(f, "serve DevTools at `HOST:PORT`")
	f.BoolVar(&none, "no-devtools", false, "serve no DevTools: end when all is decoded")
	return c
}

func newExport() *cobra.Command {
	var g reading
	var share bool
	c := &cobra.Command{
		Use:   "export [flags] NAME (--har FILE | --json FILE | -w FILE) [--share]",
		Short: "Write a recorded session to files",
		Long: `Writes a session that 'clipper up --keep NAME' recorded as HAR, JSON or packets.

With --share the files are meant for other people: credentials become pseudonyms, as
with --redact. What looks like a credential is found by its place and its looks; have
a look at the file before you send it.`,
		Example: `  clipper export monday --har monday.har --share
  clipper export monday --json - --filter 'status >= 500' | jq .response.content.text
  clipper export monday -w monday.pcapng`,
		Args:              exactly(1, "export needs the name of a recorded session: clipper export NAME --har FILE ('clipper ls' lists them)"),
		ValidArgsFunction: recordedNames,
		RunE: func(c *cobra.Command, args []string) error {
			if g.out.HAR == "" && g.out.JSON == "" && g.out.Packets == "" {
				return usageError{fmt.Errorf("export needs a file to write: clipper export %s --har FILE, --json FILE or -w FILE", args[0])}
			}
			if share && !c.Flags().Changed("redact") {
				g.choice.hide = true
				if g.out.Packets != "" {
					return usageError{errors.New("--share takes credentials out, which packets cannot be freed of: share --har or --json, or say --redact=false")}
				}
			}
			_, path, err := recorded.Find(args[0])
			if err != nil {
				return err
			}
			g.quiet = true
			return g.run(c.Context(), path)
		},
	}
	g.outputFlags(c.Flags())
	c.Flags().BoolVar(&share, "share", false, "for other people: redacts, unless --redact=false")
	return c
}

func newLs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "ls",
		Short:   "List the recorded sessions",
		Example: "  clipper ls\n  clipper ls --json | jq -r '.[].name'",
		Args:    exactly(0, "ls takes no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := recorded.List()
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(append([]recorded.Facts{}, all...))
			}
			if len(all) == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "clipper: nothing is recorded (record a session with: clipper up --keep NAME -- COMMAND)")
				return nil
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTARTED\tTOOK\tEXCHANGES\tFAILED\tEXIT\tSIZE\tCOMMAND")
			for _, f := range all {
				fmt.Fprintln(w, strings.Join(lsRow(f), "\t"))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}

func lsRow(f recorded.Facts) []string {
	row := []string{f.Name, f.Started.Local().Format("2006-01-02 15:04"), term.Duration(f.Ended.Sub(f.Started)), fmt.Sprint(f.Exchanges), fmt.Sprint(f.Failed), fmt.Sprint(f.Exit),
		term.Size(uint64(f.Size)), term.Printable(strings.Join(f.Command, " "))}
	if f.Ended.IsZero() {
		row[2], row[3], row[4], row[5] = "killed", "-", "-", "-"
		if f.Recording {
			row[2] = "running " + time.Since(f.Started).Round(time.Second).String()
		}
	}
	if f.Full {
		row[6] += " (full)"
	}
	return row
}

func newRm() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Short:   "Remove recorded sessions",
		Example: "  clipper rm monday tuesday",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("rm needs the name of a recorded session: clipper rm NAME ('clipper ls' lists them)")}
			}
			return nil
		},
		ValidArgsFunction: recordedNames,
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, recorded.Remove(name))
			}
			return errors.Join(errs...)
		},
	}
}
