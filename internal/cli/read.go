package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"clipper/bus"
	"clipper/cdpgw"
	"clipper/internal/read"
	"clipper/internal/sink"
	"clipper/internal/term"

	"github.com/spf13/cobra"
)

func newRead() *cobra.Command {
	var o sink.Options
	var quiet bool
	var devtools string
	var keyLogs []string
	var ch choice
	c := &cobra.Command{
		Use:   "read [flags] FILE",
		Short: "Decode a recorded pcap or pcapng",
		Long: `Decodes FILE, a pcap or pcapng that may be compressed with gzip or zstd; - is
standard input. TLS is decrypted with the secrets in the file and those of --keylog.`,
		Example: `  clipper read --keylog keys.log --har out.har capture.pcapng
  clipper read --devtools capture.pcapng`,
		Args: exactly(1, "read needs a capture file: clipper read [--keylog FILE] FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := ch.compile(o.Packets); err != nil {
				return err
			}
			started := time.Now()
			t := term.New(os.Stderr, quiet)
			o.Terminal, o.Dir = t, os.TempDir()
			o.Filter, o.Expect, o.Redact = ch.filter, ch.expect, ch.redact
			s, err := sink.New(o)
			if err != nil {
				return err
			}
			in, err := read.Open(args[0])
			if err != nil {
				return errors.Join(err, s.Close())
			}
			bar := read.NewProgress(in, t)
			defer bar.Close()
			// finish ends the files, and says what there was and how the rules fared.
			finish := func(err error) error {
				bar.Finish()
				err = errors.Join(err, s.Close())
				s.Summary()
				broken, junitErr := ch.judge(started)
				if err = errors.Join(err, junitErr); err == nil && broken {
					return &status{exitExpect, nil}
				}
				return err
			}
			if !c.Flags().Changed("devtools") {
				return finish(read.Decode(bar, keyLogs, s.Process))
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, t, devtools, args[0], func(process func(*bus.Record)) error {
				return finish(read.Decode(bar, keyLogs, func(r *bus.Record) error {
					process(r)
					return s.Process(r)
				}))
			})
		},
	}
	f := c.Flags()
	ch.flags(f)
	ch.expectFlags(f)
	f.BoolVarP(&quiet, "quiet", "q", false, "print no request lines")
	f.StringVar(&o.HAR, "har", "", "write the exchanges to `FILE` as HAR 1.2")
	f.StringVar(&o.JSON, "json", "", "write the exchanges to `FILE`, one HAR entry a line; - is standard output")
	f.StringVarP(&o.Packets, "write", "w", "", "write packets and TLS secrets to `FILE`, a pcapng that Wireshark opens decrypted")
	f.StringSliceVar(&keyLogs, "keylog", nil, "decrypt with the secrets of `FILE` (SSLKEYLOGFILE)")
	f.StringVar(&devtools, "devtools", "", "show the capture in DevTools at `HOST:PORT`, until Ctrl-C")
	f.Lookup("devtools").NoOptDefVal = "127.0.0.1:0"
	return c
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
