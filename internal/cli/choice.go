package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"clipper/internal/expect"
	"clipper/internal/filter"
	"clipper/internal/redact"
	"clipper/internal/sink"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice are the flags that choose exchanges, judge them and make them fit to be
// shown, of every command that has exchanges.
type choice struct {
	expr   string
	rules  []string
	junit  string
	report *os.File // for junit; nil: none
	hide   bool
	filter *filter.Filter
	expect *expect.Expectations
	redact *redact.Redactor
}

func (ch *choice) flags(f *pflag.FlagSet) {
	f.StringVar(&ch.expr, "filter", "", "only the exchanges for which `EXPR` is true, in lines, HAR and JSON (see 'clipper help filter')")
	f.BoolVar(&ch.hide, "redact", false, "replace credentials by pseudonyms in lines, HAR and JSON")
}

func (ch *choice) expectFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&ch.rules, "expect", nil, "exit with 3 unless `RULE` holds for all exchanges, filtered or not (see 'clipper help filter')")
	f.StringVar(&ch.junit, "junit", "", "write the result of the rules to `FILE` as JUnit XML")
}

// compile makes what the flags ask for; packets is the file of -w, if any.
func (ch *choice) compile(packets string) (err error) {
	if ch.filter, err = filter.Compile("--filter", ch.expr); err != nil {
		return usageError{err}
	}
	if len(ch.rules) > 0 {
		if ch.expect, err = expect.New(ch.rules); err != nil {
			return usageError{err}
		}
	} else if ch.junit != "" {
		return usageError{errors.New("--junit needs a rule to report: clipper up --expect 'status < 500' --junit FILE -- COMMAND")}
	}
	if ch.hide {
		if packets != "" {
			return usageError{errors.New("--redact cannot take credentials out of packets: leave -w out, or --redact (--har and --json can be redacted)")}
		}
		ch.redact = redact.New()
	}
	return nil
}

// open opens the file of --junit: what cannot be written is said before the command runs.
func (ch *choice) open() (err error) {
	if ch.junit != "" {
		ch.report, err = sink.Create("--junit", ch.junit, 0o644)
	}
	return err
}

// judge reports how the rules fared, when all exchanges have been seen.
func (ch *choice) judge(started time.Time) (broken bool, err error) {
	if ch.expect == nil {
		return false, nil
	}
	broken = !ch.expect.Finish()
	ch.expect.Report(os.Stderr)
	if ch.report == nil {
		return broken, nil
	}
	if err := errors.Join(ch.expect.JUnit(ch.report, started, time.Since(started)), ch.report.Close()); err != nil {
		return broken, fmt.Errorf("--junit: %w", err)
	}
	return broken, nil
}

// newFilterHelp is a page of help, not a command.
func newFilterHelp() *cobra.Command {
	var b strings.Builder
	b.WriteString(`Expressions say which exchanges are meant. They are the same for --filter of up,
read, open, export and tap, and for --expect. The language is CEL (https://cel.dev):
== != < > && || ! in, "text".contains(x) .startsWith(x) .endsWith(x) .matches(regex)
.lowerAscii(), and lists with .exists(e, …) .all(e, …) .filter(e, …) .map(e, …).

The facts of an exchange:

`)
	for _, n := range filter.Names() {
		fmt.Fprintf(&b, "  %-10s  %-9s  %s\n", n.Name, n.Type, n.Doc)
	}
	b.WriteString(`
To look into a body, --filter and --expect wait until it has come. A connection
that cannot be read has a verdict, and neither method nor status.

--expect takes two kinds of rules. One that uses the names above has to hold for
each exchange. One about "exchanges" or "verdicts", the lists of all of them, is
evaluated once at the end:

  status < 500                                      no server error
  host in ["api.example.com", "cdn.example.com"]    nobody else is talked to
  exchanges.exists(e, e.path == "/login")           it has logged in
  exchanges.filter(e, e.status == 404).size() <= 3  at most three
  size(exchanges) > 0 && size(verdicts) == 0        everything could be read

When a rule is broken the exit status is 3, unless the command itself failed, whose
status goes before.`)
	return &cobra.Command{
		Use:   "filter",
		Short: "How to say which exchanges are meant: --filter and --expect",
		Long:  b.String(),
		Example: `  clipper up --filter 'host == "api.example.com" && status >= 400' -- npm test
  clipper read --filter 'request.headers["authorization"] != ""' --json - capture.pcapng
  clipper up --expect 'ms < 2000' --expect 'exchanges.exists(e, e.method == "POST")' -- go test ./...`,
	}
}
