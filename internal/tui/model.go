package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"clipper/bus"
	"clipper/internal/filter"
)

// refresh is how often the view looks for what is new.
const refresh = 100 * time.Millisecond

// page is what the screen shows.
type page int

const (
	pageList page = iota
	pageDetail
	pageOutput
	pageHelp
)

// model is the state of the view. Only bubbletea's goroutine touches it.
type model struct {
	view          *View
	width, height int
	page          page

	rows    []*row
	visible []*row // that pass the filter and the search
	cursor  int    // in visible
	top     int    // first one on the screen
	follow  bool   // the cursor stays at the newest
	failed  int
	status  string

	filter   *filter.Filter
	filtered string // its text
	search   string // lower case

	prompt rune   // '/', 'f' or 0
	input  string // of the prompt
	notice string // until the next key

	lines  []string // of the detail or the output
	scroll int
	found  string // search within lines, lower case
}

func newModel(v *View) *model { return &model{view: v, width: 80, height: 24, follow: true} }

type tick struct{}

func ticks() tea.Cmd { return tea.Tick(refresh, func(time.Time) tea.Msg { return tick{} }) }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return ticks() }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.keepInView()
	case tick:
		m.news()
		return m, ticks()
	case tea.PasteMsg:
		if m.prompt != 0 {
			m.input += clean(msg.Content)
		}
	case tea.KeyPressMsg:
		m.notice = ""
		if m.prompt != 0 {
			m.typed(msg)
			return m, nil
		}
		return m, m.key(msg.String())
	}
	return m, nil
}

// news takes over what came since the last look.
func (m *model) news() {
	fresh, left, status := m.view.take()
	m.status = status
	m.rows = append(m.rows, fresh...)
	for _, r := range fresh {
		if r.line.Failure != "" {
			m.failed++
		}
		if m.passes(r) {
			m.visible = append(m.visible, r)
		}
	}
	if over := len(m.rows) - left; over > 0 {
		m.rows = m.rows[over:]
		m.choose()
	}
	if m.follow && len(fresh) > 0 {
		m.cursor = len(m.visible) - 1
		m.keepInView()
	}
	if m.page == pageOutput {
		atEnd := m.scroll >= len(m.lines)-m.body()
		m.lines = m.view.text()
		if atEnd {
			m.scroll = len(m.lines)
		}
		m.clampScroll()
	}
}

// passes reports whether a row is listed.
func (m *model) passes(r *row) bool {
	if m.filter != nil {
		x := filter.OfExchange(r.exchange)
		if r.verdict != nil {
			x.Verdict = r.verdict.Code
		}
		if m.filter.Uses(filter.Body) {
			for dir := range bus.Dir(2) {
				body, _, _ := m.view.body(r, dir, filter.MaxBody)
				x.Bodies[dir] = strings.ToValidUTF8(string(body), "\uFFFD")
			}
		}
		if ok, err := m.filter.Match(x); !ok || err != nil {
			return false
		}
	}
	return m.search == "" || strings.Contains(strings.ToLower(r.searchable()), m.search)
}

// searchable is what a search looks at: the line and the headers.
func (r *row) searchable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s %s\n", r.line.Status, r.line.Method, r.line.URL, r.line.Process, r.line.Failure)
	if q := r.exchange.Request; q != nil {
		for _, f := range q.Headers {
			fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
		}
	}
	if p := r.exchange.Response; p != nil {
		for _, f := range p.Headers {
			fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
		}
	}
	return b.String()
}

// choose lists the rows that pass anew, and keeps the cursor on its row.
func (m *model) choose() {
	at := m.current()
	m.visible = m.visible[:0:0]
	m.cursor = 0
	for _, r := range m.rows {
		if m.passes(r) {
			if r == at {
				m.cursor = len(m.visible)
			}
			m.visible = append(m.visible, r)
		}
	}
	m.keepInView()
}

// current is the row under the cursor, or nil.
func (m *model) current() *row {
	if m.cursor < 0 || m.cursor >= len(m.visible) {
		return nil
	}
	return m.visible[m.cursor]
}

// body is how many lines lie between the head and the foot of the screen.
func (m *model) body() int { return max(1, m.height-3) }

func (m *model) keepInView() {
	m.cursor = max(0, min(m.cursor, len(m.visible)-1))
	m.top = max(0, min(m.top, m.cursor))
	if m.cursor >= m.top+m.body() {
		m.top = m.cursor - m.body() + 1
	}
}

func (m *model) clampScroll() { m.scroll = max(0, min(m.scroll, len(m.lines)-m.body())) }

// key obeys a key outside of a prompt.
func (m *model) key(k string) tea.Cmd {
	switch k {
	case "ctrl+c":
		if i := m.view.o.Interrupt; i == nil || !i() {
			return tea.Quit
		}
		m.notice = "the command was interrupted (q leaves the view)"
		return nil
	case "?", "h":
		m.page, m.lines, m.scroll = pageHelp, helpLines, 0
		return nil
	case "o":
		m.page, m.lines = pageOutput, m.view.text()
		m.scroll = len(m.lines)
		m.clampScroll()
		return nil
	case "/":
		m.prompt, m.input = '/', ""
		return nil
	}
	if m.page == pageList {
		return m.listKey(k)
	}
	m.pagerKey(k)
	return nil
}

func (m *model) listKey(k string) tea.Cmd {
	step := 0
	switch k {
	case "q":
		return tea.Quit
	case "up", "k":
		step = -1
	case "down", "j":
		step = 1
	case "pgup", "ctrl+u":
		step = -m.body()
	case "pgdown", "ctrl+d", "space":
		step = m.body()
	case "home", "g":
		step = -len(m.visible)
	case "end", "G":
		step = len(m.visible)
	case "enter", "right", "l":
		m.open()
		return nil
	case "f":
		m.prompt, m.input = 'f', m.filtered
		return nil
	case "esc":
		m.search, m.filter, m.filtered = "", nil, ""
		m.choose()
		return nil
	default:
		return nil
	}
	m.cursor += step
	m.keepInView()
	m.follow = m.cursor == len(m.visible)-1
	return nil
}

func (m *model) pagerKey(k string) {
	switch k {
	case "q", "esc", "left", "backspace":
		m.page, m.found = pageList, ""
	case "up", "k":
		m.scroll--
	case "down", "j", "enter":
		m.scroll++
	case "pgup", "ctrl+u":
		m.scroll -= m.body()
	case "pgdown", "ctrl+d", "space":
		m.scroll += m.body()
	case "home", "g":
		m.scroll = 0
	case "end", "G":
		m.scroll = len(m.lines)
	case "n":
		m.find(1)
	case "N":
		m.find(-1)
	case "J", "tab", "K", "shift+tab": // the exchange below or above
		if m.page == pageDetail {
			if k == "J" || k == "tab" {
				m.cursor++
			} else {
				m.cursor--
			}
			m.keepInView()
			m.open()
		}
	}
	m.clampScroll()
}

// open shows the row under the cursor.
func (m *model) open() {
	if r := m.current(); r != nil {
		m.page, m.lines, m.scroll = pageDetail, m.view.detail(r, m.width), 0
	}
}

// find goes to the next line, or the one before, that has what is searched for.
func (m *model) find(step int) {
	if m.found == "" {
		return
	}
	for i := m.scroll + step; i >= 0 && i < len(m.lines); i += step {
		if strings.Contains(strings.ToLower(ansi.Strip(m.lines[i])), m.found) {
			m.scroll = i
			m.clampScroll()
			return
		}
	}
	m.notice = fmt.Sprintf("%q does not come again", m.found)
}

// typed obeys a key within a prompt.
func (m *model) typed(k tea.KeyPressMsg) {
	switch s := k.String(); s {
	case "esc", "ctrl+c":
		m.prompt = 0
	case "enter":
		m.enter()
	case "backspace":
		if r := []rune(m.input); len(r) > 0 {
			m.input = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.input = ""
	default:
		m.input += clean(k.Text)
	}
}

// enter ends a prompt.
func (m *model) enter() {
	prompt := m.prompt
	m.prompt = 0
	switch {
	case prompt == 'f':
		f, err := filter.Compile("filter", m.input)
		if err != nil {
			reason, _, _ := strings.Cut(err.Error(), "\n")
			m.notice = reason + "  (? lists the names)"
			return
		}
		m.filter, m.filtered = f, m.input
		m.choose()
	case m.page == pageList:
		m.search = strings.ToLower(m.input)
		m.choose()
	default:
		m.found = strings.ToLower(m.input)
		m.scroll--
		m.find(1)
		m.clampScroll()
	}
}
