package tui

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"clipper/bus"
	"clipper/internal/filter"
	"clipper/internal/term"
)

// How much of a body and of messages is shown.
const (
	maxShown    = 1 << 20 // bytes
	maxMessages = 1000
)

// detail is everything about a row, in lines no wider than the screen.
func (v *View) detail(r *row, width int) []string {
	d := &document{width: max(width, 20)}
	x := r.exchange
	if r.verdict != nil {
		d.title(r.line.URL)
		d.field("verdict", string(r.verdict.Code))
		d.field("reason", r.verdict.Reason)
		d.field("help", r.verdict.Help)
		d.connection(r)
		return d.lines
	}
	d.title(r.line.Method + " " + r.line.URL)
	status := "no response"
	if x.Response != nil {
		status = strings.TrimSpace(fmt.Sprint(x.Response.Status, " ", x.Response.Reason))
	}
	d.field("status", status)
	if x.Failure != nil {
		d.field("failed", x.Failure.Reason)
	}
	d.field("started", time.Unix(0, x.Started()).Format("15:04:05.000"))
	d.field("took", term.Duration(r.line.Duration)+timings(r))
	d.field("received", term.Size(x.Wire[bus.ServerToClient]))
	if n := x.Wire[bus.ClientToServer]; n > 0 {
		d.field("sent", term.Size(n))
	}
	d.connection(r)
	if q := x.Request; q != nil {
		d.headers("Request headers", q.Headers)
		d.body("Request body", v, r, bus.ClientToServer)
	}
	if p := x.Response; p != nil {
		d.headers("Response headers", p.Headers)
		d.body("Response body", v, r, bus.ServerToClient)
	}
	d.messages(r)
	return d.lines
}

func timings(r *row) string {
	t := r.exchange.Timings()
	var parts []string
	for _, p := range []struct {
		name string
		ns   int64
	}{{"connect", t.Connect}, {"TLS", t.TLS}, {"send", t.Send}, {"wait", t.Wait}, {"receive", t.Receive}} {
		if p.ns > 0 {
			parts = append(parts, p.name+" "+term.Duration(time.Duration(p.ns)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "  (" + strings.Join(parts, ", ") + ")"
}

// document gathers lines.
type document struct {
	width int
	lines []string
}

func (d *document) title(s string) { d.wrap(bold, "", clean(s)) }

func (d *document) section(s string) { d.lines = append(d.lines, "", paint(bold+";"+cyan, s)) }

func (d *document) field(name, value string) {
	if value != "" {
		d.wrap(plain, paint(dim, cell(name, 12)), clean(value))
	}
}

// wrap adds s in as many lines as it needs, behind a prefix.
func (d *document) wrap(style, prefix, s string) {
	indent := ansi.StringWidth(prefix)
	room := max(10, d.width-indent)
	for i, line := range strings.Split(ansi.Hardwrap(s, room, true), "\n") {
		if i > 0 {
			prefix = strings.Repeat(" ", indent)
		}
		d.lines = append(d.lines, prefix+paint(style, line))
	}
}

func (d *document) connection(r *row) {
	x := r.exchange
	d.field("process", r.line.Process)
	d.field("command", strings.Join(x.Process.Argv, " "))
	c := &x.Connection
	if c.Server.IsValid() {
		d.field("connection", fmt.Sprintf("%s %s -> %s", c.Transport, c.Client, c.Server))
	}
	protocol, _ := filter.OfExchange(x).ResolveName("protocol")
	d.field("protocol", fmt.Sprint(protocol))
	if t := c.TLS; t != nil {
		d.field("TLS", strings.Join(strings.Fields(strings.Join([]string{t.Version, t.Cipher, t.Group, t.SNI}, " ")), " "))
	}
}

func (d *document) headers(title string, fields []bus.Field) {
	d.section(title)
	for _, f := range fields {
		d.wrap(plain, paint(cyan, clean(f.Name)+": "), clean(f.Value))
	}
}

// body shows JSON indented, text as it is, and all else as hexadecimal.
func (d *document) body(title string, v *View, r *row, dir bus.Dir) {
	text, size, gone := v.body(r, dir, maxShown)
	if gone {
		d.section(title)
		d.lines = append(d.lines, paint(dim, "it is no longer kept"))
		return
	}
	if size == 0 {
		return
	}
	d.section(fmt.Sprintf("%s  (%s)", title, term.Size(size)))
	var pretty bytes.Buffer
	switch {
	case uint64(len(text)) == size && json.Indent(&pretty, bytes.TrimSpace(text), "", "  ") == nil:
		d.text(pretty.String())
	case isText(text):
		d.text(string(text))
	default:
		d.text(hex.Dump(text[:min(len(text), 64<<10)]))
	}
	if shown := uint64(len(text)); shown < size {
		d.lines = append(d.lines, paint(dim, fmt.Sprintf("and %s more", term.Size(size-shown))))
	}
}

// isText allows for a character that the limit has cut.
func isText(b []byte) bool {
	for range utf8.UTFMax {
		if utf8.Valid(b) {
			return !bytes.ContainsRune(b, 0)
		}
		b = b[:max(0, len(b)-1)]
	}
	return false
}

func (d *document) text(s string) {
	for _, l := range screenLines(s) {
		d.wrap(plain, "", l)
	}
}

func (d *document) messages(r *row) {
	x := r.exchange
	if len(x.Messages) == 0 {
		return
	}
	d.section(fmt.Sprintf("Messages  (%d)", x.MessageCount))
	for i, m := range x.Messages {
		if i == maxMessages {
			d.lines = append(d.lines, paint(dim, fmt.Sprintf("and %d more", int(x.MessageCount)-i)))
			return
		}
		mark := paint(green, "> ")
		if m.Dir == bus.ServerToClient {
			mark = paint(cyan, "< ")
		}
		text := m.Text
		if len(m.Binary) > 0 {
			text = hex.EncodeToString(m.Binary)
		}
		d.wrap(plain, mark, clean(strings.ReplaceAll(text, "\n", "⏎")))
	}
}

var helpLines = help()

func help() []string {
	lines := screenLines(`
  up, down, page up, page down, g, G    move
  enter                                 the exchange under the cursor
  tab, shift+tab                        the next one, the one before
  /                                     search: in the list for lines and headers,
                                        elsewhere in the text; n and N go on
  f                                     filter, an expression as of --filter
  esc                                   back; in the list: no search, no filter
  o                                     what the command prints
  Ctrl-C                                interrupts the command
  q                                     back; in the list: leaves the view

  A filter: host == "example.com" && status >= 400

`)
	for _, n := range filter.Names() {
		lines = append(lines, fmt.Sprintf("  %-10s  %-9s  %s", n.Name, n.Type, n.Doc))
	}
	return lines
}
