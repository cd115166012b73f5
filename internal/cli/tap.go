package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/internal/filter"
	"clipper/internal/term"
	"clipper/internal/up"

	"github.com/spf13/cobra"
)

// tapFlags are how a tap shows its layer.
type tapFlags struct {
	session, file    string
	json, dump, text bool
	tui              bool
	title            string // of the full-screen view
	choice           choice
}

func newTap() *cobra.Command {
	var o tapFlags
	c := &cobra.Command{
		Use:   "tap LAYER",
		Short: "Follow frames, tcp, udp, plain, http, body or proc of a running session",
		Long: `Prints one layer of a running session, from its beginning on, until the session
ends.

  http              a line for each request; with --json the events, one a line
  tcp, udp, plain   a line for each piece of a connection, before and after
                    decryption; with --text or --hex what it carries
  frames            packets as tcpdump prints them; with -w a pcapng that Wireshark
                    follows; it holds no secrets
  proc              events of processes as JSON, one a line
  body              a line for each piece of a body; --text and --hex as above

The layer keys is refused: secrets never leave through a tap (use --keylog).`,
		Example: `  clipper tap http --filter 'host == "example.com" && status >= 400'
  clipper tap http --json | jq 'select(.type=="request") | .request.url'
  clipper tap plain --text --filter 'process == "curl" && port == 443'
  clipper tap http --tui                  # the view, beside the command's own terminal
  clipper tap frames -w - | wireshark -k -i -`,
		ValidArgsFunction: first(cobra.ShellCompDirectiveNoFileComp, tappable...),
		Args:              exactly(1, "tap needs a layer: frames, tcp, udp, plain, http, body or proc"),
		RunE: func(c *cobra.Command, args []string) error {
			layer, err := bus.ParseLayer(args[0])
			if err != nil {
				return usageError{err}
			}
			if err := o.check(layer); err != nil {
				return err
			}
			f, err := findSession(o.session)
			if err != nil {
				return err
			}
			b, err := connect(c.Context(), f, "tap.json", up.TapName)
			if err != nil {
				return err
			}
			defer b.Close()
			ctx, gone := context.WithCancelCause(c.Context())
			defer gone(nil)
			go func() {
				for range time.Tick(sessionPoll) {
					if _, err := findSession(f.ID); err != nil && !b.Conn().IsConnected() {
						gone(errSessionEnded)
						return
					}
				}
			}()
			o.title = strings.Join(f.Command, " ")
			err = o.run(ctx, b, layer, c.OutOrStdout())
			if err != nil && context.Cause(ctx) == errSessionEnded || errors.Is(err, natsbus.ErrGone) {
				return errSessionEnded
			}
			return err
		},
	}
	f := c.Flags()
	sessionFlag(c, &o.session)
	f.StringVarP(&o.file, "write", "w", "", "write the frames to `FILE` as pcapng; - is standard output")
	f.BoolVar(&o.json, "json", false, "print http as events, one JSON object a line")
	f.BoolVar(&o.tui, "tui", false, "show http full-screen in this terminal, as 'clipper up --tui' does in the command's")
	f.BoolVar(&o.text, "text", false, "print what the records carry as text, connection by connection")
	f.BoolVar(&o.dump, "hex", false, "print what the records carry as hexadecimal and text")
	f.StringVar(&o.choice.expr, "filter", "", "only the exchanges or connections for which `EXPR` is true (see 'clipper help filter')")
	f.BoolVar(&o.choice.hide, "redact", false, "replace the credentials in http and proc by pseudonyms")
	return c
}

// check refuses what does not go together.
func (o *tapFlags) check(l bus.Layer) error {
	stream := l == bus.TCP || l == bus.UDP || l == bus.Plain
	switch {
	case l == bus.Keys:
		return errors.New("the layer keys cannot be tapped: TLS secrets never leave through a tap (use --keylog FILE of 'clipper up')")
	case o.file != "" && l != bus.Frames:
		return usageError{fmt.Errorf("-w writes packets: clipper tap frames -w %s", o.file)}
	case o.choice.expr != "" && l != bus.HTTP && !stream:
		return usageError{fmt.Errorf("--filter is for the layers http, plain, tcp and udp, not for %s", l)}
	case o.choice.hide && l != bus.HTTP && l != bus.Proc:
		return usageError{fmt.Errorf("--redact is for the layers http and proc: in %s credentials may lie across the records", l)}
	case o.json && l != bus.HTTP && l != bus.Proc:
		return usageError{fmt.Errorf("--json is for the layers http and proc, not for %s", l)}
	case o.tui && (l != bus.HTTP || o.json):
		return usageError{errors.New("--tui shows the layer http: clipper tap http --tui")}
	case (o.text || o.dump) && (l == bus.HTTP || l == bus.Proc) || o.text && l == bus.Frames:
		return usageError{fmt.Errorf("--text and --hex are for layers of bytes, not for %s", l)}
	case o.text && o.dump:
		return usageError{errors.New("--text or --hex: only one of them")}
	}
	if err := o.choice.compile(""); err != nil {
		return err
	}
	if stream && o.choice.filter.Uses(filter.Body) {
		return usageError{fmt.Errorf("--filter: a connection of the layer %s has no %s: filter by it in http", l, filter.Body)}
	}
	return nil
}

// run prints the layer until it ends.
func (o *tapFlags) run(ctx context.Context, b *natsbus.Bus, l bus.Layer, out io.Writer) error {
	switch {
	case l == bus.Frames && o.file != "":
		return tapFrames(ctx, b, o.file, out)
	case o.tui:
		return tapScreen(ctx, b, o.choice, o.title)
	case l == bus.HTTP && !o.json:
		return tapLines(ctx, b, o.choice)
	case l == bus.HTTP && o.choice.filter != nil:
		return tapChosenEvents(ctx, b, o.choice, out)
	case l == bus.TCP || l == bus.UDP || l == bus.Plain:
		return tapStreams(ctx, b, l, o, out)
	}
	return tap(ctx, b, l, out, func(w *bufio.Writer, r *bus.Record) { printRecord(w, o.redacted(r), o) })
}

// redacted is r, without credentials if that is wanted.
func (o *tapFlags) redacted(r *bus.Record) *bus.Record {
	if o.choice.redact == nil {
		return r
	}
	c := *r
	switch e := r.Event.(type) {
	case *bus.Event:
		c.Event = o.choice.redact.Event(e)
	case *bus.ProcEvent:
		c.Event = o.choice.redact.Proc(e)
	}
	return &c
}

// sessionPoll is how often a tap whose connection is lost looks for its session.
const sessionPoll = 500 * time.Millisecond

// errSessionEnded is the end of a session in the middle of a tap.
var errSessionEnded = errors.New("the session ended before all of it had been read")

// tap prints every partition of a layer until all have ended.
func tap(ctx context.Context, b *natsbus.Bus, l bus.Layer, out io.Writer, print func(*bufio.Writer, *bus.Record)) error {
	w := bufio.NewWriter(out)
	return follow(ctx, b, l, func(batch *natsbus.Batch) error {
		for r := range batch.Records() {
			print(w, r)
		}
		return w.Flush()
	})
}

// tapFrames writes the frames to a packet file as they come.
func tapFrames(ctx context.Context, b *natsbus.Bus, path string, out io.Writer) (err error) {
	if path != "-" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	w, err := newFrameFile(out)
	if err != nil {
		return err
	}
	err = follow(ctx, b, bus.Frames, func(batch *natsbus.Batch) error {
		for r := range batch.Records() {
			if err := w.Write(r); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	return errors.Join(err, w.Close())
}

// follow hands the batches of every partition of a layer to f, one at a time,
// until all have ended.
func follow(ctx context.Context, b *natsbus.Bus, l bus.Layer, f func(*natsbus.Batch) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	errs := make([]error, l.StreamCount(b.Partitions()))
	for p := range errs {
		wg.Go(func() {
			errs[p] = b.Follow(ctx, l, p, 0, func(batch *natsbus.Batch) error {
				mu.Lock()
				defer mu.Unlock()
				return f(batch)
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var typeNames = map[bus.Type]string{
	bus.Open: "open", bus.Established: "established", bus.Data: "data", bus.Gap: "gap", bus.Fin: "fin", bus.Reset: "reset", bus.End: "end",
	bus.Info: "info", bus.Opaque: "opaque", bus.Unreachable: "unreachable", bus.Resent: "resent", bus.BodyBytes: "body", bus.EOS: "eos", bus.Dropped: "dropped",
}

// printRecord prints one record as a line; JSON payloads are printed as they are.
func printRecord(w *bufio.Writer, r *bus.Record, o *tapFlags) {
	if r.Event != nil {
		printEvent(w, r.Event)
		return
	}
	if r.Layer == bus.Frames && r.Type != bus.EOS {
		printFrame(w, r)
	} else {
		printStream(w, r)
	}
	if o.dump && carries(r) {
		w.WriteString(hex.Dump(r.Payload))
	}
	if o.text && carries(r) {
		printText(w, r)
	}
}

func printEvent(w *bufio.Writer, e any) {
	if b, err := json.Marshal(e); err == nil {
		w.Write(append(b, '\n'))
	}
}

// carries reports whether the payload is bytes of the wire.
func carries(r *bus.Record) bool {
	return len(r.Payload) > 0 && r.Type != bus.Open && r.Type != bus.End && r.Type != bus.Info && r.Type != bus.Opaque
}

// printStream prints a record of a stream as a line.
func printStream(w *bufio.Writer, r *bus.Record) {
	arrow := "->"
	if r.Dir == bus.ServerToClient {
		arrow = "<-"
	}
	name := typeNames[r.Type]
	if name == "" {
		name = "type" + strconv.Itoa(int(r.Type))
	}
	at := time.Unix(0, r.Time).Format("15:04:05.000000")
	fmt.Fprintf(w, "%s %s %s %s offset %d %d bytes", at, r.Conn, arrow, name, r.Offset, len(r.Payload))
	switch r.Type {
	case bus.Open, bus.End, bus.Info, bus.Opaque:
		fmt.Fprintf(w, " %s", term.Printable(string(r.Payload)))
	case bus.Gap, bus.Dropped:
		fmt.Fprintf(w, " %d missing", r.Aux)
	}
	w.WriteByte('\n')
}
