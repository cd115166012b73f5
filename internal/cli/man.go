package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages to a directory",
		Long:  "Writes a manual page for clipper and for each of its commands to DIR, which is made if need be.",
		Example: `  clipper man ~/.local/share/man/man1
  man clipper-up`,
		Args: exactly(1, "man needs a directory, for example: clipper man ~/.local/share/man/man1"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			return writeMan(root, args[0])
		},
	}
}

// writeMan writes a page for each command below root, and for each topic of help.
func writeMan(root *cobra.Command, dir string) error {
	// The date is SOURCE_DATE_EPOCH's where that is set.
	header := func() *doc.GenManHeader {
		return &doc.GenManHeader{Section: "1", Source: "Clipper " + readBuild().Version, Manual: "Clipper"}
	}
	eachCommand(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Long = indented.ReplaceAllString(c.Long, "    $0") // as it stands, in Markdown
		c.Flags().VisitAll(nameValue)
	})
	if err := doc.GenManTree(root, header(), dir); err != nil {
		return err
	}
	for _, c := range root.Commands() {
		if !c.IsAdditionalHelpTopicCommand() {
			continue
		}
		f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			return err
		}
		if err := doc.GenMan(c, header(), f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "clipper*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		if err := os.WriteFile(page, noValue.ReplaceAll(b, []byte("$1")), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}

// named is a flag's value whose default is shown as it is.
type named struct{ pflag.Value }

func (named) Type() string { return "" }

// nameValue has the pages show what a flag takes, "--har=FILE", where the library shows
// its default; and nothing for one that takes nothing.
func nameValue(f *pflag.Flag) {
	name, usage := pflag.UnquoteUsage(f)
	if f.Value.Type() == "bool" {
		name, f.NoOptDefVal = "", ""
	} else if d := f.DefValue; d != "" && d != "[]" {
		usage += fmt.Sprintf(" (default %s)", d)
	}
	f.Usage, f.DefValue, f.Value = usage, name, named{f.Value}
}

// indented is a line of a table in a help text.
var indented = regexp.MustCompile(`(?m)^  `)

// noValue is a flag that takes nothing, as the library writes it.
var noValue = regexp.MustCompile(`(?m)(\\fB--[a-z-]+\\fP)=$`)
