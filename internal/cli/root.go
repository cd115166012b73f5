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
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses of Clipper itself, as env(1) and the shells use them.
const (
	exitUsage       = 2
	exitExpect      = 3   // a rule of --expect is broken
	exitFailure     = 125 // Clipper itself failed
	exitCannotRun   = 126 // the command was found but cannot be run
	exitNoSuchFile  = 127 // the command was not found
	exitInterrupted = 130 // as of a process that SIGINT ended
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
		if c.Name() == "help" {
			c = c.Parent()
		}
		fmt.Fprintf(os.Stderr, "Run '%s --help' for what there is.\n", c.CommandPath())
		return exitUsage
	}
	return exitFailure
}

func complain(err error) {
	help := ""
	if errors.Is(err, syscall.EMFILE) {
		help = " (raise the limit: ulimit -n 1024)"
	}
	fmt.Fprintf(os.Stderr, "clipper: %v%s\n", err, help)
}

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
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(c, args)
			}
			return nil
		},
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return checkValues(c.Flags()) },
	}
	cobra.AddTemplateFunc("optionalValues", optionalValues)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages |", "FlagUsages | optionalValues |"))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newUp(), newRead(), newKeys(), newDemo(), newDemoClient(), newDoctor(), newPs(), newRestart(), newSwap(), newTap(), newVersion(), newMan(), newFilterHelp(), newOpen(), newLs(), newRm(), newExport())
	root.SuggestionsMinimumDistance = 2
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = exactly(1, "completion needs a shell: clipper completion bash, zsh, fish or powershell"), needShell
		}
	}
	return root
}

// noCommand is what to say of a command that there is none of.
func noCommand(root *cobra.Command, args []string) error {
	help := fmt.Sprintf("to watch a program: clipper up -- %s", strings.Join(args, " "))
	if like := root.SuggestionsFor(args[0]); len(like) > 0 {
		help = fmt.Sprintf("do you mean %s? %s", strings.Join(like, " or "), help)
	}
	return usageError{fmt.Errorf("there is no command %q (%s)", args[0], help)}
}

func needShell(_ *cobra.Command, args []string) error {
	return usageError{fmt.Errorf("there are no completions for %q: bash, zsh, fish or powershell", args[0])}
}

// newHelp is cobra's help command, but that a topic that does not exist is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, sub := range c.Root().Commands() {
					if !sub.Hidden {
						names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no help on %q", strings.Join(args, " "))}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// checkValues refuses values that nobody means: an empty one, as of a variable that
// is not set, and another flag or --, as of a flag whose value was forgotten.
func checkValues(f *pflag.FlagSet) (err error) {
	f.Visit(func(f *pflag.Flag) {
		switch v := f.Value.String(); {
		case f.Value.Type() != "string" || err != nil:
		case v == "" && f.Name != "filter": // which lets all pass
			err = usageError{fmt.Errorf("--%s is given an empty value", f.Name)}
		case strings.HasPrefix(v, "--"):
			err = usageError{fmt.Errorf("--%s needs a value, and what follows is %q (if that is meant: --%s=./%s)", f.Name, v, f.Name, v)}
		}
	})
	return err
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
