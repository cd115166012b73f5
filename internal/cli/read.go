package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"clipper/bus"
	"clipper/cdpgw"
	"clipper/httpdec"
	"clipper/internal/read"
	"clipper/internal/sink"
	"clipper/internal/term"
	"clipper/internal/tui"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reading is the decoding of a recorded file, of all commands that do so.
type reading struct {
	out      sink.Options
	choice   choice
	quiet    bool
	keyLogs  []string
	protos   []string
	show     bool   // in DevTools
	devtools string // its address
	tui      bool
	title    string
}

// outputFlags are those of the files.
func (g *reading) outputFlags(f *pflag.FlagSet) {
	g.choice.flags(f)
	protoFlag(f, &g.protos)
	f.StringVar(&g.out.HAR, "har", "", "write the exchanges to `FILE` as HAR 1.2 (- is standard output, here and for the other files)")
	f.StringVar(&g.out.JSON, "json", "", "write the exchanges to `FILE`, one HAR entry a line")
	f.StringVarP(&g.out.Packets, "write", "w", "", "write packets and TLS secrets to `FILE`, a pcapng that Wireshark opens decrypted")
}

// viewFlags are those of the terminal and DevTools.
func (g *reading) viewFlags(f *pflag.FlagSet, devtools string) {
	g.choice.expectFlags(f)
	f.BoolVarP(&g.quiet, "quiet", "q", false, "print no request lines and no summary")
	f.BoolVar(&g.tui, "tui", false, "show the exchanges full-screen in this terminal")
	f.StringVar(&g.devtools, "devtools", "", devtools)
	f.Lookup("devtools").NoOptDefVal = defaultReadAddress
}

const defaultReadAddress = "127.0.0.1:0"

func newRead() *cobra.Command {
	var g reading
	c := &cobra.Command{
		Use:   "read [flags] FILE",
		Short: "Decode a recorded pcap or pcapng",
		Long: `Decodes FILE, a pcap or pcapng that may be compressed with gzip or zstd; - is
standard input. TLS is decrypted with the secrets in the file and those of --keylog.`,
		Example: `  clipper read --keylog keys.log --har out.har capture.pcapng
  clipper read --filter 'status >= 400' --json - capture.pcapng | jq .request.url
  clipper read --devtools capture.pcapng
  clipper read --tui capture.pcapng`,
		Args: exactly(1, "read needs a capture file: clipper read [--keylog FILE] FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			g.show, g.title = c.Flags().Changed("devtools"), args[0]
			return g.run(c.Context(), args[0])
		},
	}
	f := c.Flags()
	g.outputFlags(f)
	g.viewFlags(f, "show the capture in DevTools at `HOST:PORT`, until Ctrl-C")
	f.StringSliceVar(&g.keyLogs, "keylog", nil, "decrypt with the secrets of `FILE` (SSLKEYLOGFILE)")
	return c
}

// run decodes the file at path into all outputs.
func (g *reading) run(ctx context.Context, path string) error {
	if err := g.choice.compile(g.out.Packets); err != nil {
		return err
	}
	var err error
	if g.devtools, err = devToolsAddress(g.devtools); err != nil {
		return err
	}
	h, err := decoderOptions(g.protos)
	if err != nil {
		return err
	}
	reads := []namedFile{{"the capture", path}}
	for _, k := range g.keyLogs {
		reads = append(reads, namedFile{"--keylog", k})
	}
	if err := apart(reads, []namedFile{{"--har", g.out.HAR}, {"--json", g.out.JSON}, {"-w", g.out.Packets}, {"--junit", g.choice.junit}}); err != nil {
		return err
	}
	in, err := read.Open(path) // before the outputs: a mistyped name empties no file
	if err != nil {
		return err
	}
	defer in.Close()
	if err := g.choice.open(); err != nil {
		return err
	}
	started := time.Now()
	t := term.New(os.Stderr, g.quiet)
	o := g.out
	o.Version = readBuild().Version
	o.Terminal, o.Dir = t, os.TempDir()
	o.Filter, o.Expect, o.Redact = g.choice.filter, g.choice.expect, g.choice.redact
	var view *tui.View
	if g.tui {
		var err error
		if view, err = tui.New(tui.Options{Title: g.title}); err != nil {
			return err
		}
		o.View = view
	}
	s, err := sink.New(o)
	if err != nil {
		return err
	}
	bar := read.NewProgress(in, t)
	defer bar.Close()
	// finish ends the files, and says what there was and how the rules fared.
	finish := func(err error) error {
		bar.Finish()
		if errors.Is(err, sink.ErrIdle) { // Close says why
			err = nil
		}
		err = errors.Join(err, s.Close())
		if err == nil || s.Totals().Exchanges > 0 {
			s.Summary()
		}
		broken, junitErr := g.choice.judge(started)
		if err = errors.Join(err, junitErr); err == nil && broken {
			return &status{exitExpect, nil}
		}
		return err
	}
	if view != nil {
		return finish(g.fullScreen(ctx, view, t, s, bar, h))
	}
	if !g.show {
		return g.toFiles(in, func(each func(*bus.Record) error) error {
			return finish(read.Decode(bar, g.keyLogs, h, func(r *bus.Record) error {
				if err := each(r); err != nil {
					return err
				}
				return s.Process(r)
			}, nil))
		})
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return serve(ctx, t, g.devtools, g.title, func(process func(*bus.Record)) error {
		return finish(read.Decode(bar, g.keyLogs, h, func(r *bus.Record) error {
			process(r)
			return s.Process(r)
		}, process))
	})
}

// errInterrupted ends the decoding of a file at Ctrl-C.
var errInterrupted = errors.New("interrupted: the files have what was decoded until then")

// toFiles decodes in, until the first Ctrl-C: the files are completed then. A second one
// ends the process at once.
func (g *reading) toFiles(in io.Closer, decode func(each func(*bus.Record) error) error) error {
	if n := len(slices.DeleteFunc([]string{g.out.HAR, g.out.JSON, g.out.Packets, g.choice.junit}, func(f string) bool { return f == "" })); n > 1 {
		// The reader of one may leave; the others are written on.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop()
		in.Close() // a pipe may give nothing for long
	})
	err := decode(func(*bus.Record) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return nil
	})
	if ctx.Err() != nil {
		return &status{exitInterrupted, errInterrupted}
	}
	return err
}

// errLeft ends the decoding of a file whose view the user has left.
var errLeft = errors.New("the view was left")

// fullScreen decodes the file while the view shows it, until the user leaves.
func (g *reading) fullScreen(ctx context.Context, v *tui.View, t *term.Terminal, s *sink.Sink, in io.Reader, h httpdec.Options) error {
	back := t.Divert(v.Output(os.Stderr))
	decoded := make(chan error, 1)
	v.Status("reading")
	go func() {
		err := read.Decode(in, g.keyLogs, h, func(r *bus.Record) error {
			select {
			case <-v.Done():
				return errLeft
			default:
				return s.Process(r)
			}
		}, nil)
		s.Flush()
		v.Status("")
		if err != nil && !errors.Is(err, errLeft) {
			v.Status(err.Error())
		}
		decoded <- err
	}()
	err := v.Run(ctx)
	failed := <-decoded
	back()
	v.Release()
	if errors.Is(failed, errLeft) {
		failed = nil
	}
	return errors.Join(err, failed)
}

// serve shows a file in DevTools until ctx ends; what the file could not give
// is said but does not end it.
func serve(ctx context.Context, t *term.Terminal, addr, title string, feed func(func(*bus.Record)) error) error {
	g, err := cdpgw.New(cdpgw.Options{Addr: addr, Discovery: true, Title: title})
	if err != nil {
		return err
	}
	defer g.Close()
	t.Say("DevTools: %s (Ctrl-C ends it)", g.Status().URL)
	failed := feed(g.Process)
	g.Flush()
	var st *status
	if failed != nil && !errors.As(failed, &st) {
		t.Say("%v", failed)
		st = &status{exitFailure, nil}
	}
	<-ctx.Done()
	if st != nil {
		return st
	}
	return nil
}
