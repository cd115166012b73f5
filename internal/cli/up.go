package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"clipper/internal/up"
	"clipper/sandbox"

	"github.com/spf13/cobra"
)

// flags that `up` and `demo` share.
func upFlags(c *cobra.Command, o *up.Options) *choice {
	f := c.Flags()
	var ch choice
	ch.flags(f)
	ch.expectFlags(f)
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "print no request lines and no summary")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "print what the roles log")
	f.StringVar(&o.HAR, "har", "", "write the exchanges to `FILE` as HAR 1.2 (- is standard output, here and for the other files)")
	f.StringVar(&o.JSON, "json", "", "write the exchanges to `FILE`, one HAR entry a line")
	f.StringVarP(&o.Packets, "write", "w", "", "write packets, TLS secrets and processes to `FILE`, a pcapng that Wireshark opens decrypted")
	f.BoolVar(&o.TUI, "tui", false, "show the session full-screen in this terminal; what the command prints there is kept and printed at the end")
	f.StringVar(&o.Keep, "keep", "", "record the session as `NAME`, for 'clipper open NAME'")
	o.KeepMax = 2_000_000_000
	f.Var((*bytesValue)(&o.KeepMax), "keep-max", "record `SIZE` bytes of packets at most (500MB, 2GB; 0: all)")
	f.StringVar(&o.KeyLog, "keylog", "", "write the TLS secrets to `FILE` in the format of SSLKEYLOGFILE")
	f.StringVar(&o.Address, "devtools", "", "serve DevTools at `HOST:PORT` (default: 127.0.0.1:9229, or another port if that is taken)")
	f.Bool("no-devtools", false, "serve no DevTools")
	f.BoolVar(&o.Open, "open", false, "open DevTools in the browser: $BROWSER, or what xdg-open takes")
	f.BoolVar(&o.WaitAll, "wait-all", false, "when the command ends, wait for the processes that it left running")
	f.BoolVar(&o.KillAll, "kill-all", false, "when the command ends, kill what it left running (it gets a PID namespace of its own)")
	f.BoolVar(&o.Stay, "stay", false, "keep DevTools up after the command ended, until Ctrl-C")
	f.StringSliceVarP(&o.Publish, "publish", "p", nil, "make a port of the command reachable from the host: `[ADDR:]HOST:APP[/udp]`")
	f.IntVar(&o.Partitions, "partitions", defaultPartitions(), "over how many partitions connections are spread: `N`, a power of two")
	f.StringVar(&o.NATS, "nats", "", "put the session on the NATS server at `URL` instead of one of its own")
	f.StringVar(&o.Creds, "creds", "", "with --nats: the credentials `FILE`")
	f.StringVar(&o.KeysCreds, "keys-creds", "", "with --nats: the credentials `FILE` of another account, for the TLS secrets")
	o.NATSMax = 1_000_000_000
	f.Var((*bytesValue)(&o.NATSMax), "nats-max", "with --nats: `SIZE` bytes of each of the session's streams at most, 5MB or more")
	f.StringVar(&o.CA, "nats-ca", "", "with --nats: the authority of the server's certificate, a PEM `FILE`")
	protoFlag(f, &o.Protos)
	o.Programs = map[string]string{}
	for _, role := range []string{"reassembler", "tlsdec", "httpdec", "cdpgw"} {
		f.Func(role, "run the program `PATH` as "+role, func(path string) error {
			p, err := exec.LookPath(path)
			if err == nil {
				o.Programs[role] = p
			}
			return err
		})
	}
	// A bare --devtools keeps its default address.
	f.Lookup("devtools").NoOptDefVal = " "
	return &ch
}

// defaultPartitions is a power of two: one for two processors, four for eight or more.
func defaultPartitions() int {
	n := 1
	for n < 4 && 4*n <= runtime.NumCPU() {
		n *= 2
	}
	return n
}

func newUp() *cobra.Command {
	var o up.Options
	var ch *choice
	c := &cobra.Command{
		Use:   "up [flags] -- COMMAND [ARG...]",
		Short: "Run a command and watch its HTTP traffic in DevTools",
		Long: `Runs COMMAND in a network namespace of its own, takes the secrets out of its TLS
library while it runs, decodes what it sends and receives, and shows it in
Chrome DevTools at the address that is printed. The command itself is not
changed, needs no proxy setting and no certificate, and its exit status is
clipper's.

When the command ends while DevTools is attached, the session stays up until
Ctrl-C or until the last DevTools is closed.`,
		Example: `  clipper up -- curl https://example.com
  clipper up --no-devtools --har out.har -- npm test
  clipper up --filter 'status >= 400 || ms > 1000' -- npm test
  clipper up --expect 'status < 500' --junit expect.xml -- go test ./...
  clipper up --tui -- npm test
  clipper up --keep monday -- ./my-app    # later: clipper open monday
  clipper up --nats tls://nats.example:4222 --creds me.creds -- ./my-app
  clipper up -p 8080:80 -- ./my-server`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("up needs a command: clipper up -- COMMAND [ARG...]")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Command = args
			return runUp(c, o, ch)
		},
	}
	c.Flags().SetInterspersed(false) // what follows the command is the command's
	ch = upFlags(c, &o)
	return c
}

// natsFiles are what is read for --nats.
func natsFiles(o up.Options) []namedFile {
	return []namedFile{{"--creds", o.Creds}, {"--keys-creds", o.KeysCreds}, {"--nats-ca", o.CA}}
}

// checkNATS looks at the options of a server that is not Clipper's own.
func checkNATS(o up.Options) error {
	switch {
	case o.NATS == "" && o.Creds+o.KeysCreds+o.CA != "":
		return usageError{errors.New("--creds, --keys-creds and --nats-ca need a server: --nats URL")}
	case o.NATS != "" && o.Creds == "":
		return usageError{errors.New("--nats needs --creds FILE, the credentials of an account with JetStream: everything the command sends would be readable by anybody otherwise")}
	}
	if o.NATS != "" && o.NATSMax < 5_000_000 {
		return usageError{errors.New("--nats-max: a stream needs 5MB or more")}
	}
	for _, file := range natsFiles(o) {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			return fmt.Errorf("%s: %w", file.by, err)
		}
	}
	return nil
}

// checkUp refuses flags that contradict each other, or that change nothing.
func checkUp(c *cobra.Command, o up.Options) error {
	given := c.Flags().Changed
	none := !o.DevTools
	switch {
	case o.WaitAll && o.KillAll:
		return usageError{errors.New("--wait-all and --kill-all contradict each other: choose one")}
	case none && (given("devtools") || o.Open || o.Stay):
		return usageError{errors.New("--no-devtools goes with none of --devtools, --open and --stay")}
	case given("devtools") && o.Address == "" && len(o.Command) > 0 && isAddress(o.Command[0]):
		return usageError{fmt.Errorf("the address of --devtools stands behind a =: --devtools=%s", o.Command[0])}
	case given("keep-max") && o.Keep == "":
		return usageError{errors.New("--keep-max limits what --keep NAME records: it needs --keep")}
	case given("nats-max") && o.NATS == "":
		return usageError{errors.New("--nats-max is for a server of yours: it needs --nats URL")}
	}
	return nil
}

// isAddress reports whether s is HOST:PORT, and no path to a command.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil || strings.Contains(s, "/") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func runUp(c *cobra.Command, o up.Options, ch *choice) error {
	none, _ := c.Flags().GetBool("no-devtools")
	o.DevTools = !none
	var err error
	if o.Address, err = devToolsAddress(strings.TrimSpace(o.Address)); err != nil {
		return err
	}
	if o.Partitions < 1 || o.Partitions > 64 || o.Partitions&(o.Partitions-1) != 0 {
		return usageError{fmt.Errorf("--partitions %d: a power of two from 1 to 64 is needed", o.Partitions)}
	}
	if err := checkUp(c, o); err != nil {
		return err
	}
	if err := ch.compile(o.Packets); err != nil {
		return err
	}
	o.Filter, o.Expect, o.Redact = ch.filter, ch.expect, ch.redact
	err = apart(natsFiles(o),
		[]namedFile{{"--har", o.HAR}, {"--json", o.JSON}, {"-w", o.Packets}, {"--keylog", o.KeyLog}, {"--junit", ch.junit}})
	if err != nil {
		return err
	}
	if o.Schema, err = compileProtos(o.Protos); err != nil {
		return err
	}
	started := time.Now()
	if err := checkNATS(o); err != nil {
		return err
	}
	if err := ch.open(); err != nil {
		return err
	}
	o.Version = readBuild().Version
	code, err := up.Run(c.Context(), o)
	broken, junitErr := ch.judge(started)
	if err == nil {
		err = junitErr
	}
	var ce *sandbox.CommandError
	switch {
	case errors.As(err, &ce):
		return &status{ce.ExitCode(), err}
	case up.Reported(err):
		if code == 0 {
			code = exitFailure
		}
		return &status{code, nil}
	case err != nil:
		return &status{exitFailure, err}
	case code != 0:
		return &status{code, nil}
	case broken:
		return &status{exitExpect, nil}
	}
	return nil
}

// self is the path of this program, for running it again as another command.
func self() (string, error) {
	p, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return p, nil
}
