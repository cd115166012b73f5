package tui

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"clipper/internal/filter"
	"clipper/internal/term"
)

// Styles: SGR parameters (ECMA-48, section 8.3.117). bubbletea leaves out what the
// terminal or NO_COLOR does not want.
const (
	plain   = ""
	bold    = "1"
	dim     = "2"
	reverse = "7"
	red     = "31"
	green   = "32"
	yellow  = "33"
	cyan    = "36"
)

func paint(style, s string) string {
	if style == plain || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "clipper " + m.view.o.Title
	return v
}

// screen is a head, a body and a foot.
func (m *model) screen() string {
	lines := []string{m.head()}
	switch m.page {
	case pageList:
		lines = append(lines, m.list()...)
	default:
		lines = append(lines, m.pager()...)
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(1, m.height-1)], m.foot())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

func (m *model) head() string {
	count := fmt.Sprintf("%d exchanges", len(m.rows))
	if len(m.visible) != len(m.rows) {
		count = fmt.Sprintf("%d of %s", len(m.visible), count)
	}
	if m.failed > 0 {
		count += fmt.Sprintf("  %d failed", m.failed)
	}
	right := " " + count + "  " + m.status + " "
	left := " clipper  " + clean(m.view.o.Title)
	room := max(0, m.width-ansi.StringWidth(right))
	left = ansi.Truncate(left, room, "…")
	return paint(reverse, left+strings.Repeat(" ", max(0, room-ansi.StringWidth(left)))+right)
}

func (m *model) foot() string {
	switch {
	case m.prompt == '/':
		return paint(bold, "search: ") + m.input + paint(reverse, " ")
	case m.prompt == 'f':
		return paint(bold, "filter: ") + m.input + paint(reverse, " ")
	case m.notice != "":
		return paint(yellow, clean(m.notice))
	case m.page != pageList:
		where := "all"
		if len(m.lines) > m.body() {
			where = fmt.Sprintf("%d %%", 100*min(m.scroll+m.body(), len(m.lines))/len(m.lines))
		}
		return paint(dim, "esc back  / search  n next  tab next exchange  o output  ? help  "+where)
	}
	s := "enter details  / search  f filter  o output  ? help  q quit"
	if m.search != "" {
		s = "search: " + m.search + "  (esc: all)  " + s
	}
	if m.filtered != "" {
		s = "filter: " + m.filtered + "  (esc: all)  " + s
	}
	return paint(dim, clean(s))
}

// columns of the list that have a fixed width.
const (
	statusWidth  = 7
	methodWidth  = 7
	typeWidth    = 10
	sizeWidth    = 9
	timeWidth    = 8
	processWidth = 16
)

// list is the table with its titles.
func (m *model) list() []string {
	rest := max(20, m.width-statusWidth-methodWidth-typeWidth-sizeWidth-timeWidth-processWidth-3)
	host := min(28, rest/2)
	path := rest - host
	lines := []string{paint(bold, " "+cell("STATUS", statusWidth)+cell("METHOD", methodWidth)+cell("HOST", host)+cell("PATH", path)+cell("TYPE", typeWidth)+
		right("SIZE", sizeWidth)+right("TIME", timeWidth)+"  "+"PROCESS")}
	for i := m.top; i < len(m.visible) && i < m.top+m.body(); i++ {
		lines = append(lines, m.visible[i].render(i == m.cursor, host, path, m.width))
	}
	if len(m.visible) == 0 {
		text := "nothing yet"
		if len(m.rows) > 0 {
			text = "nothing passes (esc: all)"
		}
		lines = append(lines, "", paint(dim, "  "+text))
	}
	return lines
}

func (r *row) render(selected bool, host, path, width int) string {
	status, style := strconv.Itoa(r.line.Status), green
	switch {
	case r.verdict != nil:
		status, style = "???", yellow
	case r.line.Failure != "":
		style = red
		if r.line.Status == 0 {
			status = "---"
		}
	case r.line.Status >= 500:
		style = red
	case r.line.Status >= 400:
		style = yellow
	case r.line.Status >= 300:
		style = cyan
	}
	where, what := "", r.line.URL
	if u, err := url.Parse(r.line.URL); err == nil && u.Host != "" {
		where, what = u.Host, u.RequestURI()
	}
	kind, size, took := r.kind(), term.Size(r.line.Size), term.Duration(r.line.Duration)
	rest := cell(clean(r.line.Method), methodWidth) + cell(clean(where), host) + cell(clean(what), path) + cell(clean(kind), typeWidth) +
		right(size, sizeWidth) + right(took, timeWidth) + "  " + clean(r.line.Process)
	if r.verdict != nil { // its reason stands where an exchange has numbers
		rest = cell("", methodWidth) + cell(clean(r.line.URL), host) + cell(clean(string(r.verdict.Code)+": "+r.verdict.Reason), path+typeWidth+sizeWidth+timeWidth) + "  " + clean(r.line.Process)
	}
	if selected {
		s := " " + cell(status, statusWidth) + rest
		return paint(reverse, s+strings.Repeat(" ", max(0, width-ansi.StringWidth(s))))
	}
	return " " + paint(style, cell(status, statusWidth)) + rest
}

// kind is the media type, shortened.
func (r *row) kind() string {
	mime, _ := filter.OfExchange(r.exchange).ResolveName("mime")
	s, _ := mime.(string)
	_, s, _ = strings.Cut(s, "/")
	return s
}

// cell is s in a column of n cells, the last of which is empty.
func cell(s string, n int) string {
	s = ansi.Truncate(s, n-1, "…")
	return s + strings.Repeat(" ", max(0, n-ansi.StringWidth(s)))
}

// right is s at the right of a column.
func right(s string, n int) string { return strings.Repeat(" ", max(0, n-ansi.StringWidth(s))) + s }

// pager shows lines, with what was searched for marked.
func (m *model) pager() (lines []string) {
	for i := m.scroll; i < len(m.lines) && i < m.scroll+m.body(); i++ {
		l := m.lines[i]
		if m.found != "" {
			l = mark(l, m.found)
		}
		lines = append(lines, l)
	}
	return lines
}

// mark shows where a line has what was searched for; its own colours go.
func mark(line, what string) string {
	text := ansi.Strip(line)
	lower := strings.ToLower(text)
	if len(lower) != len(text) || !strings.Contains(lower, what) {
		return line
	}
	var b strings.Builder
	for at := 0; ; {
		i := strings.Index(lower[at:], what)
		if i < 0 {
			b.WriteString(text[at:])
			return b.String()
		}
		b.WriteString(text[at : at+i])
		b.WriteString(paint(reverse, text[at+i:at+i+len(what)]))
		at += i + len(what)
	}
}
