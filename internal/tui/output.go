package tui

import (
	"bytes"
	"io"
	"os"
	"strings"

	"clipper/internal/term"
)

// maxOutput is how much of what the command prints is kept while the view has the
// terminal, in bytes; the beginning goes first.
const maxOutput = 8 << 20

// output is what the command and Clipper print while the view has the terminal:
// it is shown in the view, and printed when the view is gone.
type output struct {
	pieces []piece
	size   int
	cut    bool
	after  bool // the view is gone: it is printed at once
}

type piece struct {
	to   *os.File
	text []byte
}

// Output is a writer to f that keeps what is written until the view is gone.
func (v *View) Output(f *os.File) io.Writer { return writer{v, f} }

type writer struct {
	v  *View
	to *os.File
}

func (w writer) Write(b []byte) (int, error) {
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	o := &w.v.output
	if o.after {
		return w.to.Write(b)
	}
	o.pieces = append(o.pieces, piece{w.to, bytes.Clone(b)})
	o.size += len(b)
	for o.size > maxOutput && len(o.pieces) > 1 {
		o.size -= len(o.pieces[0].text)
		o.pieces[0] = piece{}
		o.pieces, o.cut = o.pieces[1:], true
	}
	return len(b), nil
}

// Release prints what was kept, and from now on everything at once. Call it when
// Run has ended.
func (v *View) Release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := &v.output
	o.after = true
	if o.cut {
		io.WriteString(os.Stderr, "clipper: the beginning of the output was not kept\n")
	}
	for _, p := range o.pieces {
		p.to.Write(p.text)
	}
	o.pieces, o.size = nil, 0
}

// text is what was printed, in lines fit for the screen.
func (v *View) text() (lines []string) {
	v.mu.Lock()
	var b strings.Builder
	for _, p := range v.output.pieces {
		b.Write(p.text)
	}
	v.mu.Unlock()
	return screenLines(b.String())
}

// screenLines splits text that may hold anything into lines without controls.
func screenLines(s string) (lines []string) {
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, clean(line))
	}
	return lines
}

func clean(s string) string { return term.Printable(strings.ReplaceAll(s, "\t", "    ")) }
