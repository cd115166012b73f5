// Package term prints what a person at the terminal sees: a line for each
// finished request, verdicts, and Clipper's own words. It writes to standard
// error, so that standard output is the command's alone.
package term

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	xterm "golang.org/x/term"
)

// Terminal prints lines, whole ones, from any goroutine.
type Terminal struct {
	mu     sync.Mutex
	w      io.Writer
	quiet  bool // only Say
	color  bool
	width  func() int // of the terminal in cells; 0: w is no terminal
	status string     // stands below the last line

	diverted io.Writer // gets Clipper's own words while others have the terminal; nil: nobody has
}

// New prints to f; colours are for terminals, and NO_COLOR turns them off.
func New(f *os.File, quiet bool) *Terminal {
	t := &Terminal{w: f, quiet: quiet, width: func() int { return 0 }}
	if fd := int(f.Fd()); xterm.IsTerminal(fd) && os.Getenv("TERM") != "dumb" {
		t.color = os.Getenv("NO_COLOR") == ""
		t.width = func() int {
			w, _, _ := xterm.GetSize(fd)
			return w
		}
	}
	return t
}

// Quiet reports whether only Say prints.
func (t *Terminal) Quiet() bool { return t.quiet }

// Divert gives Clipper's own words to w, and nobody the other lines, until the
// terminal is given back.
func (t *Terminal) Divert(w io.Writer) (back func()) {
	set := func(w io.Writer) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.diverted = w
	}
	set(w)
	return func() { set(nil) }
}

// Line is one finished exchange.
type Line struct {
	Status   int // 0: no response
	Method   string
	URL      string
	Content  string // what the request is, where its URL does not tell
	Size     uint64 // bytes of the response body on the wire
	Duration time.Duration
	Process  string // name and pid, or empty
	Failure  string // why there is no whole response
}

// maxURL is how much of a URL a line shows, in characters.
const maxURL = 160

// Exchange prints a request line.
func (t *Terminal) Exchange(l Line) {
	if !t.quiet {
		t.print(t.format(l))
	}
}

// format is the request line.
func (t *Terminal) format(l Line) string {
	status, colour := strconv.Itoa(l.Status), "32"
	switch {
	case l.Status == 0:
		status, colour = "---", "31"
	case l.Status >= 500:
		colour = "31"
	case l.Status >= 400:
		colour = "33"
	case l.Status >= 300:
		colour = "36"
	}
	url := cut(Printable(l.URL), maxURL)
	if l.Content != "" {
		url += " (" + cut(Printable(l.Content), maxURL/2) + ")"
	}
	tail := ""
	if l.Process != "" {
		tail = "  " + Printable(l.Process)
	}
	if l.Failure != "" {
		tail += "  " + t.paint("31", Printable(l.Failure))
	}
	return fmt.Sprintf("%s %-6s %s  %s  %s%s\n", t.paint(colour, status), Printable(l.Method), url, Size(l.Size), Duration(l.Duration), tail)
}

// Brief is an exchange within a sentence: how long, what, with what status.
func (t *Terminal) Brief(l Line) string {
	status := strconv.Itoa(l.Status)
	if l.Status == 0 {
		status = "no response"
	}
	return fmt.Sprintf("%-7s %s %s (%s)", Duration(l.Duration), Printable(l.Method), cut(Printable(l.URL), maxURL/2), status)
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Verdict prints why a connection could not be read.
func (t *Terminal) Verdict(server, code, reason, help, process string) {
	if t.quiet {
		return
	}
	s := fmt.Sprintf("%s %s  %s: %s", t.paint("33", "???"), Printable(server), code, Printable(reason))
	if help != "" {
		s += " (" + Printable(help) + ")"
	}
	if process != "" {
		s += "  " + Printable(process)
	}
	t.print(s + "\n")
}

// Say prints a line of Clipper's own; errors are printed with -q, too.
func (t *Terminal) Say(format string, a ...any) {
	s := "clipper: " + strings.TrimRight(fmt.Sprintf(format, a...), "\n") + "\n"
	if !t.divert(s) {
		t.print(s)
	}
}

// divert reports whether others have the terminal, and gives them s.
func (t *Terminal) divert(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.diverted == nil {
		return false
	}
	io.WriteString(t.diverted, s)
	return true
}

// Note is Say unless the user wants quiet.
func (t *Terminal) Note(format string, a ...any) {
	if !t.quiet {
		t.Say(format, a...)
	}
}

// Status replaces the line that stands below all others, of cells of one width
// each; "" takes it away. Nothing is printed where there is no terminal.
func (t *Terminal) Status(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.width(); w == 0 || t.quiet || t.diverted != nil {
		return
	} else if r := []rune(s); len(r) >= w {
		s = string(r[:w-1]) // the last cell would wrap
	}
	t.status = s
	io.WriteString(t.w, eraseLine+s)
}

// eraseLine goes to the beginning of the line and empties it (ECMA-48, EL).
const eraseLine = "\r\x1b[K"

func (t *Terminal) print(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.diverted != nil {
		return
	}
	if t.status != "" {
		s = eraseLine + s + t.status
	}
	io.WriteString(t.w, s)
}

func (t *Terminal) paint(colour, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// Printable keeps what came from the wire from moving the cursor.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Size is n bytes for people: 999 B, 1.0 kB, 23.4 MB.
func Size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 999.95 && unit < 4 {
		f /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTP"[unit])
}

// Duration is d for people: 340 µs, 12 ms, 3.4 s.
func Duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Second:
		if d < time.Second {
			return fmt.Sprintf("%d ms", d.Milliseconds())
		}
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
