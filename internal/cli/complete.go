package cli

import (
	"strings"

	"clipper/internal/session"

	"github.com/spf13/cobra"
)

// sessionFlag adds --session, which is completed by the sessions that run.
func sessionFlag(c *cobra.Command, id *string) {
	c.Flags().StringVar(id, "session", "", "the session's `ID`, when several run")
	c.RegisterFlagCompletionFunc("session", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := session.List(session.Base())
		var ids []string
		for _, f := range all {
			ids = append(ids, cobra.CompletionWithDesc(f.ID, strings.Join(f.Command, " ")))
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	})
}

// first completes the first argument by words, and others by files if there are any.
func first(others cobra.ShellCompDirective, words ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, others
	}
}

// The words that are completed: what can be tapped, what can be started again, and what
// can be replaced.
var (
	tappable    = []string{"frames", "tcp", "udp", "plain", "http", "body", "proc"}
	replaceable = []string{"reassembler", "tlsdec", "httpdec", "cdpgw"}
	restartable = append([]string{"netd", "capture", "keyhook"}, replaceable...)
)
