// Package cli is Clipper's command line. What flows in are arguments; what
// flows out is an exit status.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses of Clipper itself, as env(1) and the shells use them.
const (
	exitUsage      = 2
	exitExpect     = 3   // a rule of --expect is broken
	exitFailure    = 125 // Clipper itself failed
	exitCannotRun  = 126 // the command was found but cannot be run
	exitNoSuchFile = 127 // the command was not found
)

// status is an exit status on its way to Main; err may be nil.
type status struct {
	code int
	err  error
}

func (s *status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}

func (s *status) Unwrap() error { return s.err }

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// Main runs the command line and returns the exit status.
func Main(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var st *status
	if errors.As(err, &st) {
		if st.err != nil {
			complain(st.err)
		}
		return st.code
	}
	complain(err)
	var u usageError
	if errors.As(err, &u) {
		fmt.Fprintf(os.Stderr, "Run '%s --help' for what there is.\n", c.CommandPath())
		return exitUsage
	}
	return exitFailure
}

func complain(err error) { fmt.Fprintf(os.Stderr, "clipper: %v\n", err) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "clipper",
		Short: "See the HTTP traffic of any program in Chrome DevTools",
		Long: `Clipper shows the HTTP traffic of any native program in Chrome DevTools, live,
with no configuration, no root, no proxy and no certificate.`,
		Example: `  clipper up -- curl https://example.com
  clipper up --har out.har -- go test ./...
  clipper demo`,
		Version:       readBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q (to watch a program: clipper up -- %s)", args[0], args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cobra.AddTemplateFunc("optionalValues", optionalValues)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages |", "FlagUsages | optionalValues |"))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newUp(), newRead(), newKeys(), newDemo(), newDemoClient(), newDoctor(), newPs(), newRestart(), newSwap(), newTap(), newVersion(), newMan(), newFilterHelp(), newOpen(), newLs(), newRm(), newExport())
	return root
}

var optionalValue = regexp.MustCompile(` ([^ \[]+)\[="[^"]*"\]`)

// optionalValues writes flags whose value may be left out as they are to be typed,
// in the same width: a value that does not stand behind a = is another argument.
func optionalValues(usages string) string {
	return optionalValue.ReplaceAllStringFunc(usages, func(s string) string {
		as := "[=" + optionalValue.FindStringSubmatch(s)[1] + "]"
		return as + strings.Repeat(" ", len(s)-len(as))
	})
}
