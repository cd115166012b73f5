package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"clipper/bus/natsbus"
	"clipper/internal/roles"
	"clipper/internal/session"
	"clipper/internal/up"

	"github.com/spf13/cobra"
)

// findSession is the running session with this id, or the only one.
func findSession(id string) (session.Facts, error) {
	all, err := session.List(session.Base())
	if err != nil {
		return session.Facts{}, err
	}
	if id != "" {
		i := slices.IndexFunc(all, func(f session.Facts) bool { return f.ID == id })
		if i < 0 {
			return session.Facts{}, fmt.Errorf("no session %q runs (clipper ps lists them)", id)
		}
		return all[i], nil
	}
	switch len(all) {
	case 0:
		return session.Facts{}, fmt.Errorf("no session runs (start one with: clipper up -- COMMAND)")
	case 1:
		return all[0], nil
	}
	var ids []string
	for _, f := range all {
		ids = append(ids, f.ID)
	}
	return session.Facts{}, fmt.Errorf("several sessions run: choose one with --session %s", strings.Join(ids, " | "))
}

// connect reaches the bus of a running session; file is one of its access files.
func connect(ctx context.Context, f session.Facts, file, name string) (*natsbus.Bus, error) {
	a, err := natsbus.ReadAccess(filepath.Join(session.Base(), f.ID, file))
	if err != nil {
		return nil, err
	}
	return natsbus.Connect(ctx, a, name)
}

func ask(ctx context.Context, f session.Facts, c up.Command) (up.Reply, error) {
	b, err := connect(ctx, f, "access.json", "cli")
	if err != nil {
		return up.Reply{}, err
	}
	defer b.Close()
	return up.Ask(b, c)
}

func newPs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ps",
		Short: "List the running sessions and their processes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := session.List(session.Base())
			if err != nil {
				return err
			}
			type row struct {
				session.Facts
				Roles []roles.State `json:"roles"`
			}
			rows := []row{}
			for _, f := range all {
				reply, err := ask(c.Context(), f, up.Command{Op: "states"})
				if err != nil {
					fmt.Fprintf(os.Stderr, "clipper: session %s: %v\n", f.ID, err)
				}
				slices.SortFunc(reply.States, func(a, b roles.State) int { return strings.Compare(a.Name, b.Name) })
				rows = append(rows, row{f, reply.States})
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(rows)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, r := range rows {
				fmt.Fprintf(w, "%s\tpid %d\t%s\t%s\t%s\n", r.ID, r.PID, time.Since(r.Started).Round(time.Second), strings.Join(r.Command, " "), r.DevTools)
				for _, s := range r.Roles {
					state := fmt.Sprintf("pid %d", s.PID)
					if s.PID == 0 {
						state = "ended"
					}
					if s.Error != "" {
						state = "gave up: " + s.Error
					}
					fmt.Fprintf(w, "  %s\t%s\tstarts: %d\t%s\t\n", s.Name, state, s.Starts, s.Path)
				}
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}

func newRestart() *cobra.Command {
	var id string
	c := &cobra.Command{
		Use:   "restart ROLE",
		Short: "Kill a process of a running session and start it again",
		Args:  exactly(1, "restart needs the name of a role, for example: clipper restart tlsdec"),
		RunE: func(c *cobra.Command, args []string) error {
			return restart(c.Context(), id, args[0], "")
		},
	}
	c.Flags().StringVar(&id, "session", "", "the session's `ID`, when several run")
	return c
}

func newSwap() *cobra.Command {
	var id string
	c := &cobra.Command{
		Use:   "swap ROLE PATH",
		Short: "Replace a process of a running session by another program",
		Args:  exactly(2, "swap needs the name of a role and a program, for example: clipper swap tlsdec ./my-tlsdec"),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[1])
			if err != nil {
				return err
			}
			if fi, err := os.Stat(path); err != nil {
				return err
			} else if fi.IsDir() || fi.Mode()&0o111 == 0 {
				return fmt.Errorf("%s is not an executable file", path)
			}
			return restart(c.Context(), id, args[0], path)
		},
	}
	c.Flags().StringVar(&id, "session", "", "the session's `ID`, when several run")
	return c
}

func restart(ctx context.Context, id, role, path string) error {
	f, err := findSession(id)
	if err != nil {
		return err
	}
	_, err = ask(ctx, f, up.Command{Op: "restart", Role: role, Path: path})
	return err
}

// exactly wants n arguments; otherwise it says what is needed.
func exactly(n int, need string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s", need)}
		}
		return nil
	}
}
