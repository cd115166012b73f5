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
	var file string
	c := &cobra.Command{
		Use:   "tap LAYER",
		Short: "Follow frames, tcp, udp, plain, http, body or proc of a running session",
		Long: `Prints the records of one layer of a running session, from its beginning on, until
the session ends. The layers http and proc are JSON, one object a line; the others
are a line a record, with --bytes followed by what it carries.

Frames are printed as tcpdump does, or written with -w as a pcapng that Wireshark
follows; it holds no secrets.

The layer keys is refused: secrets never leave through a tap (use --keylog).`,
		Example: `  clipper tap http | jq 'select(.type=="request") | .request.url'
  clipper tap --bytes plain
  clipper tap frames -w - | wireshark -k -i -`,
		Args: exactly(1, "tap needs a layer: frames, tcp, udp, plain, http, body or proc"),
		RunE: func(c *cobra.Command, args []string) error {
			layer, err := bus.ParseLayer(args[0])
			if err != nil {
				return usageError{err}
			}
			if file != "" && layer != bus.Frames {
				return usageError{fmt.Errorf("-w writes packets: clipper tap frames -w %s", file)}
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
			if file != "" {
				err = tapFrames(ctx, b, file, c.OutOrStdout())
			} else {
				err = tap(ctx, b, layer, c.OutOrStdout(), func(w *bufio.Writer, r *bus.Record) { printRecord(w, r, dump) })
			}
			if context.Cause(ctx) == errSessionEnded {
				return errSessionEnded
			}
			return err
		},
	}
	c.Flags().StringVar(&id, "session", "", "the session's `ID`, when several run")
	c.Flags().StringVarP(&file, "write", "w", "", "write the frames to `FILE` as pcapng; - is standard output")
	c.Flags().BoolVar(&dump, "bytes", false, "print what the records carry, as hexadecimal and text")
	return c
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
	if r.Layer == bus.Frames && r.Type != bus.EOS {
		printFrame(w, r)
	} else {
		printStream(w, r)
	}
	if dump && len(r.Payload) > 0 && r.Type != bus.Open && r.Type != bus.End && r.Type != bus.Info && r.Type != bus.Opaque {
		w.WriteString(hex.Dump(r.Payload))
	}
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
		fmt.Fprintf(w, " %s", r.Payload)
	case bus.Gap, bus.Dropped:
		fmt.Fprintf(w, " %d missing", r.Aux)
	}
	w.WriteByte('\n')
}
