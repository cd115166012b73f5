package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/internal/up"

	"github.com/spf13/cobra"
)

func newTap() *cobra.Command {
	var id string
	var dump bool
	c := &cobra.Command{
		Use:   "tap LAYER",
		Short: "Follow frames, tcp, udp, plain, http, body or proc of a running session",
		Long: `Prints the records of one layer of a running session, from its beginning on, until
the session ends. The layers http and proc are JSON, one object a line; the others
are a line a record, with --bytes followed by what it carries.

The layer keys is refused: secrets never leave through a tap (use --keylog).`,
		Example: `  clipper tap http | jq 'select(.type=="request") | .request.url'
  clipper tap --bytes plain`,
		Args: exactly(1, "tap needs a layer: frames, tcp, udp, plain, http, body or proc"),
		RunE: func(c *cobra.Command, args []string) error {
			layer, err := bus.ParseLayer(args[0])
			if err != nil {
				return usageError{err}
			}
			if layer == bus.Keys {
				return errors.New("the layer keys cannot be tapped: TLS secrets never leave through a tap (use --keylog FILE of 'clipper up')")
			}
			f, err := findSession(id)
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
			err = tap(ctx, b, layer, dump, c.OutOrStdout())
			if context.Cause(ctx) == errSessionEnded {
				return errSessionEnded
			}
			return err
		},
	}
	c.Flags().StringVar(&id, "session", "", "the session's `ID`, when several run")
	c.Flags().BoolVar(&dump, "bytes", false, "print what the records carry, as hexadecimal and text")
	return c
}

// sessionPoll is how often a tap whose connection is lost looks for its session.
const sessionPoll = 500 * time.Millisecond

// errSessionEnded is the end of a session in the middle of a tap.
var errSessionEnded = errors.New("the session ended before all of it had been read")

// tap prints every partition of a layer until all have ended.
func tap(ctx context.Context, b *natsbus.Bus, l bus.Layer, dump bool, out io.Writer) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	w := bufio.NewWriter(out)
	errs := make([]error, l.StreamCount(b.Partitions()))
	for p := range errs {
		wg.Go(func() {
			errs[p] = b.Follow(ctx, l, p, 0, func(batch *natsbus.Batch) error {
				mu.Lock()
				defer mu.Unlock()
				for r := range batch.Records() {
					printRecord(w, r, dump)
				}
				return w.Flush()
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var typeNames = map[bus.Type]string{
	bus.Open: "open", bus.Established: "established", bus.Data: "data", bus.Gap: "gap", bus.Fin: "fin", bus.Reset: "reset", bus.End: "end",
	bus.Info: "info", bus.Opaque: "opaque", bus.Unreachable: "unreachable", bus.BodyBytes: "body", bus.EOS: "eos", bus.Dropped: "dropped",
}

// printRecord prints one record as a line; JSON payloads are printed as they are.
func printRecord(w *bufio.Writer, r *bus.Record, dump bool) {
	if r.Event != nil {
		if b, err := json.Marshal(r.Event); err == nil {
			w.Write(append(b, '\n'))
		}
		return
	}
	at := time.Unix(0, r.Time).UTC().Format("15:04:05.000000")
	name := typeNames[r.Type]
	if r.Layer == bus.Frames && name == "" {
		fmt.Fprintf(w, "%s #%d interface %d linktype %d %d bytes", at, r.Offset, r.Stream, r.Type, r.Aux)
	} else {
		arrow := "->"
		if r.Dir == bus.ServerToClient {
			arrow = "<-"
		}
		if name == "" {
			name = "type" + strconv.Itoa(int(r.Type))
		}
		fmt.Fprintf(w, "%s %s %s %s offset %d %d bytes", at, r.Conn, arrow, name, r.Offset, len(r.Payload))
	}
	switch r.Type {
	case bus.Open, bus.End, bus.Info, bus.Opaque:
		fmt.Fprintf(w, " %s\n", r.Payload)
		return
	case bus.Gap, bus.Dropped:
		fmt.Fprintf(w, " %d missing", r.Aux)
	}
	w.WriteByte('\n')
	if dump && len(r.Payload) > 0 {
		w.WriteString(hex.Dump(r.Payload))
	}
}
