package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"clipper/bus/natsbus"
	"clipper/internal/session"
	"clipper/internal/term"
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

// psRow is a session as `clipper ps --json` prints it.
type psRow struct {
	session.Facts
	Seen     up.Seen        `json:"seen"`
	Roles    []up.RoleState `json:"roles"`
	Nkey     string         `json:"nkey,omitempty"`    // file of the read-only user's seed
	Subjects string         `json:"subjects,omitzero"` // what that user may read
}

func newPs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ps",
		Short: "List the running sessions and their processes",
		Long: `Lists the running sessions: what they have seen, and of each process its rates, its
backlog, its memory and what it dropped. The line that begins with "nats" is the
plain NATS command that follows the requests, with the session's read-only user.`,
		Example: `  clipper ps
  clipper ps --json | jq '.[].roles[] | select(.backlog > 0)'
  watch clipper ps`,
		Args: exactly(0, "ps takes no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := session.List(session.Base())
			if err != nil {
				return err
			}
			rows := []psRow{}
			for _, f := range all {
				reply, err := ask(c.Context(), f, up.Command{Op: "states"})
				if err != nil {
					fmt.Fprintf(os.Stderr, "clipper: session %s: %v\n", f.ID, err)
				}
				slices.SortFunc(reply.States, func(a, b up.RoleState) int { return strings.Compare(a.Name, b.Name) })
				row := psRow{Facts: f, Seen: reply.Seen, Roles: reply.States}
				if seed := filepath.Join(session.Base(), f.ID, session.TapSeed); fileExists(seed) {
					row.Nkey, row.Subjects = seed, "clipper."+f.ID+".>"
				}
				rows = append(rows, row)
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(rows)
			}
			if len(rows) == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "clipper: no session runs (start one with: clipper up -- COMMAND)")
			}
			for i, r := range rows {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				if err := r.print(c.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (r *psRow) print(out io.Writer) error {
	fmt.Fprintf(out, "%s  pid %d  %s  %s\n", r.ID, r.PID, time.Since(r.Started).Round(time.Second), term.Printable(strings.Join(r.Command, " ")))
	fmt.Fprintf(out, "  seen      %d exchanges, %d failed, %d frames lost", r.Seen.Exchanges, r.Seen.Failed, r.Seen.Lost)
	for _, code := range slices.Sorted(maps.Keys(r.Seen.Verdicts)) {
		fmt.Fprintf(out, ", %s %d", code, r.Seen.Verdicts[code])
	}
	fmt.Fprintln(out)
	if r.DevTools != "" {
		fmt.Fprintf(out, "  devtools  %s\n", r.DevTools)
	}
	if r.Nkey != "" {
		fmt.Fprintf(out, "  nats      nats --server %s --nkey %s sub 'clipper.%s.http.*'\n", r.NATS, r.Nkey, r.ID)
	} else if r.NATS != "" {
		fmt.Fprintf(out, "  nats      nats --server %s --creds YOURS sub 'clipper.%s.http.*'\n", r.NATS, r.ID)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "  ROLE\tPID\tSTARTS\tIN/s\tOUT/s\tINPUT\tBACKLOG\tDROPPED\tMEMORY\tPROGRAM")
	for _, s := range r.Roles {
		pid := strconv.Itoa(s.PID)
		switch {
		case s.Error != "":
			pid = "gave up"
		case s.PID == 0:
			pid = "ended"
		}
		fmt.Fprintf(w, "  %s\t%s\t%d\t%.0f\t%.0f\t%s/s\t%d\t%d\t%s\t%s\n", s.Name, pid, s.Starts, s.InRate, s.OutRate, term.Size(uint64(s.InSpeed)), s.Backlog, s.Dropped,
			term.Size(uint64(s.RSS)), s.Path)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range r.Roles {
		if s.Error != "" {
			fmt.Fprintf(out, "  %s\n", s.Error)
		}
	}
	return nil
}

func newRestart() *cobra.Command {
	var id string
	var replay bool
	c := &cobra.Command{
		Use:   "restart ROLE",
		Short: "Kill a process of a running session and start it again",
		Long: `Kills a process of a running session; it is started again at once, replays what it
needs of the log, and goes on where it was. With --replay a decoder begins anew: it and
those after it decode the history again, as far as the log still has it.`,
		Example:           "  clipper restart tlsdec\n  clipper restart --replay httpdec",
		ValidArgsFunction: first(cobra.ShellCompDirectiveNoFileComp, restartable...),
		Args:              exactly(1, "restart needs the name of a role, for example: clipper restart tlsdec"),
		RunE: func(c *cobra.Command, args []string) error {
			return restart(c.Context(), id, op(replay), args[0], "")
		},
	}
	sessionFlag(c, &id)
	c.Flags().BoolVar(&replay, "replay", false, "decode the history again")
	return c
}

func newSwap() *cobra.Command {
	var id string
	var goOn bool
	c := &cobra.Command{
		Use:   "swap ROLE PATH",
		Short: "Replace a process of a running session by another program",
		Long: `Ends a process of a running session and runs PATH in its place. The history is decoded
again by the new program and those after it, as far as the log still has it: DevTools
shows what they find, and files get what was not in them before. With --go-on the new
program goes on where the output of the old one stops.`,
		Example:           `  clipper swap tlsdec ./my-tlsdec`,
		ValidArgsFunction: first(cobra.ShellCompDirectiveDefault, replaceable...),
		Args:              exactly(2, "swap needs the name of a role and a program, for example: clipper swap tlsdec ./my-tlsdec"),
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
			return restart(c.Context(), id, op(!goOn), args[0], path)
		},
	}
	sessionFlag(c, &id)
	c.Flags().BoolVar(&goOn, "go-on", false, "do not decode the history again")
	return c
}

// op is how a role is started again.
func op(replay bool) string {
	if replay {
		return "replay"
	}
	return "restart"
}

func restart(ctx context.Context, id, op, role, path string) error {
	f, err := findSession(id)
	if err != nil {
		return err
	}
	_, err = ask(ctx, f, up.Command{Op: op, Role: role, Path: path})
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
