package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"clipper/keyhook"
	"clipper/sandbox"

	"github.com/spf13/cobra"
)

// notRun says in the words of a shell why a command was not run, as up does.
func notRun(name string, code int, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, exec.ErrNotFound):
		err = sandbox.ErrCommandNotFound
	case errors.As(err, &errno):
		err = errno
	case errors.Is(err, fs.ErrPermission):
		err = syscall.EACCES
	}
	return &sandbox.CommandError{Name: name, Code: code, Err: err}
}

func newKeys() *cobra.Command {
	var keylog, asJSON string
	c := &cobra.Command{
		Use:   "keys [flags] -- COMMAND [ARG...]",
		Short: "Only the TLS secrets: SSLKEYLOGFILE for programs that lack it",
		Long: `Runs COMMAND as it is, in the network as it is, and writes the TLS secrets of it
and its children in the format of SSLKEYLOGFILE (RFC 9850). A file that exists is
appended to.`,
		Example: `  clipper keys --keylog keys.log -- ./my-go-program
  tcpdump -w out.pcap & clipper keys --keylog keys.log -- node app.js`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("keys needs a command: clipper keys --keylog FILE -- COMMAND [ARG...]")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := apart(nil, []namedFile{{"--keylog", keylog}, {"--json", asJSON}}); err != nil {
				return err
			}
			o := keyhook.KeysOptions{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Environ()}
			for _, f := range []struct {
				namedFile
				to *io.Writer
			}{{namedFile{"--keylog", keylog}, &o.KeyLog}, {namedFile{"--json", asJSON}, &o.JSON}} {
				switch f.path {
				case "":
				case "-":
					*f.to = os.Stdout
				default:
					file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
					if err != nil {
						return fmt.Errorf("%s: %w: name a file that can be written", f.by, err)
					}
					defer file.Close()
					*f.to = file
				}
			}
			if o.KeyLog == nil && o.JSON == nil {
				o.KeyLog = os.Stderr
			}
			code, err := keyhook.RunKeys(c.Context(), args, o)
			var ce *sandbox.CommandError
			switch {
			case errors.As(err, &ce):
				return &status{ce.ExitCode(), err}
			case err != nil && (code == exitCannotRun || code == exitNoSuchFile):
				return &status{code, notRun(args[0], code, err)}
			case err != nil:
				return &status{exitFailure, err}
			case code != 0:
				return &status{code, nil}
			}
			return nil
		},
	}
	c.Flags().SetInterspersed(false)
	c.Flags().StringVar(&keylog, "keylog", "", "append the secrets to `FILE` (- is standard output; default: standard error)")
	c.Flags().StringVar(&asJSON, "json", "", "append the secrets with the process and the library they come from to `FILE`, one JSON object a line")
	return c
}
