// Package expect checks the rules of --expect. What flows in are the exchanges
// and verdicts of a session; what flows out is a report for people and a JUnit
// file for CI.
package expect

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/internal/filter"
)

// MaxKept is how many exchanges, and how many verdicts, a rule about all of them
// together can look at; with more it cannot be decided, which breaks it.
const MaxKept = 200_000

// MaxBodies is how many bytes of bodies rules about all exchanges can look at.
const MaxBodies = 64 << 20

// maxExamples is how many of the exchanges that break a rule are listed.
const maxExamples = 10

// Expectations are rules and how they fare so far. Not safe for concurrent use.
type Expectations struct {
	results   []*Result
	together  bool // some rule is about all exchanges together
	exchanges []filter.Row
	verdicts  []filter.Row
	index     map[bus.ConnID]int // of verdicts
	seen      int
	tooMany   bool
	bodies    int // bytes of those that are kept
	tooLarge  bool
}

// Result is a rule and what became of it.
type Result struct {
	Rule   *filter.Rule
	Broken int      // exchanges that break it; 1 for a rule about all
	Err    error    // why it could not be evaluated
	Of     []string // the first exchanges that break it
}

// New compiles rules.
func New(rules []string) (*Expectations, error) {
	e := &Expectations{index: map[bus.ConnID]int{}}
	for _, text := range rules {
		r, err := filter.CompileRule(text)
		if err != nil {
			return nil, err
		}
		e.results = append(e.results, &Result{Rule: r})
		e.together = e.together || r.About()
	}
	return e, nil
}

// Uses reports whether a rule speaks of any of the names; those of nobody speak of none.
func (e *Expectations) Uses(names ...string) bool {
	return e != nil && slices.ContainsFunc(e.results, func(r *Result) bool { return r.Rule.Uses(names...) })
}

// Exchange takes a finished exchange and what the report may show of it. It keeps
// its heads, not its messages.
func (e *Expectations) Exchange(row filter.Row, shown *exchange.Exchange) {
	e.seen++
	for _, r := range e.results {
		if r.Rule.About() {
			continue
		}
		if ok, err := r.Rule.Holds(row); err != nil || !ok {
			r.broke(describe(shown), err)
		}
	}
	light := *row.Exchange
	light.Messages, light.Information = nil, nil
	row.Exchange = &light
	if e.bodies += len(row.Bodies[0]) + len(row.Bodies[1]); e.bodies > MaxBodies {
		e.tooLarge, row.Bodies = e.together, [2]string{}
	}
	e.keep(&e.exchanges, row)
}

// Verdict takes a connection that cannot be read; a later one of the same
// connection replaces it.
func (e *Expectations) Verdict(v *exchange.Verdict) {
	if i, ok := e.index[v.Conn]; ok {
		e.verdicts[i] = filter.OfVerdict(v)
		return
	}
	if n := len(e.verdicts); e.keep(&e.verdicts, filter.OfVerdict(v)) {
		e.index[v.Conn] = n
	}
}

// keep reports whether r was appended to list.
func (e *Expectations) keep(list *[]filter.Row, r filter.Row) bool {
	if !e.together {
		return false
	}
	if len(*list) >= MaxKept {
		e.tooMany = true
		return false
	}
	*list = append(*list, r)
	return true
}

func (r *Result) broke(example string, err error) {
	r.Broken++
	if err != nil && r.Err == nil {
		r.Err = err
	}
	if example != "" && len(r.Of) < maxExamples {
		r.Of = append(r.Of, example)
	}
}

// Finish evaluates the rules about all exchanges together. Call it once, when
// no more will come. It reports whether every rule holds.
func (e *Expectations) Finish() bool {
	held := true
	for _, r := range e.results {
		if r.Rule.About() {
			switch ok, err := r.Rule.HoldsForAll(e.exchanges, e.verdicts); {
			case e.tooMany:
				r.broke("", fmt.Errorf("more than %d exchanges or verdicts: too many to look at together", MaxKept))
			case e.tooLarge && r.Rule.Uses(filter.Body):
				r.broke("", fmt.Errorf("the bodies have more than %d MiB: too much to look at together", MaxBodies>>20))
			case err != nil || !ok:
				r.broke("", err)
			}
		}
		held = held && r.Broken == 0
	}
	return held
}

// Report is what a person reads, a few lines for each broken rule.
func (e *Expectations) Report(w io.Writer) {
	broken := 0
	for _, r := range e.results {
		if r.Broken > 0 {
			broken++
		}
	}
	if broken == 0 {
		fmt.Fprintf(w, "expect: %s kept by %s\n", plural(len(e.results), "rule"), plural(e.seen, "exchange"))
		return
	}
	fmt.Fprintf(w, "expect: %d of %s broken (%s seen)\n", broken, plural(len(e.results), "rule"), plural(e.seen, "exchange"))
	for _, r := range e.results {
		mark := "holds "
		if r.Broken > 0 {
			mark = "BROKEN"
		}
		fmt.Fprintf(w, "  %s  %s\n", mark, r.Rule.Text)
		for _, line := range r.reasons() {
			fmt.Fprintf(w, "            %s\n", line)
		}
	}
}

// reasons are why a rule is broken, one a line.
func (r *Result) reasons() (lines []string) {
	if r.Broken == 0 {
		return nil
	}
	if r.Err != nil {
		lines = append(lines, "it could not be evaluated: "+r.Err.Error())
	} else if r.Rule.About() {
		lines = append(lines, "it is false for the exchanges together")
	}
	lines = append(lines, r.Of...)
	if more := r.Broken - len(r.Of); more > 0 && !r.Rule.About() {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// describe names an exchange in a line.
func describe(x *exchange.Exchange) string {
	method, url, status := "?", "?", "no response"
	if x.Request != nil {
		method, url = x.Request.Method, x.Request.URL
	}
	if x.Response != nil {
		status = fmt.Sprint(x.Response.Status)
	}
	s := fmt.Sprintf("%s %s -> %s, %v", method, cut(url), status, time.Duration(max(0, x.Ended()-x.Started())).Round(100*time.Microsecond))
	if x.Failure != nil {
		s += ", " + x.Failure.Reason
	}
	if name := filter.ProgramName(x.Process); name != "" {
		s += fmt.Sprintf(", %s[%d]", name, x.Process.PID)
	}
	return printable(s)
}

const maxURL = 200

func cut(url string) string {
	if r := []rune(url); len(r) > maxURL {
		return string(r[:maxURL-1]) + "…"
	}
	return url
}

// printable keeps what came from the wire from moving the cursor, or from making
// an XML file invalid.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffe || r == 0xffff {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
