package tui

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/internal/term"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func init() { time.Local = time.UTC } // of the golden files

type bodies map[bus.Dir]string

func (b bodies) Body(_ bus.ConnID, _ uint64, dir bus.Dir) (io.ReadCloser, uint64, error) {
	return io.NopCloser(strings.NewReader(b[dir])), uint64(len(b[dir])), nil
}

var flow = bus.Connection{Flow: bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort("10.0.2.100:4000"), Server: netip.MustParseAddrPort("192.0.2.1:443")}}

// get adds an exchange with a JSON body.
func get(v *View, path string, status int, forget func()) {
	body := `{"path":"` + path + `","text":"` + "\\u001b[2J" + `"}`
	x := &exchange.Exchange{Conn: 1, Stream: 1,
		Request:     &bus.Request{Method: "GET", URL: "http://example.com" + path, Proto: "http/1.1", Headers: []bus.Field{{Name: "Accept", Value: "a\x1b[2Jb"}}},
		RequestTime: 1, RequestEnded: 1,
		Response:     &bus.Response{Status: status, Headers: []bus.Field{{Name: "Content-Type", Value: "application/json"}}},
		ResponseTime: 1, ResponseEnded: 1, Connection: flow, Decoded: [2]uint64{0, uint64(len(body))}}
	v.Exchange(x, term.Line{Status: status, Method: "GET", URL: x.Request.URL, Size: uint64(len(body)), Duration: 12 * time.Millisecond, Process: "curl[7]"}, bodies{bus.ServerToClient: body}, forget)
}

// view is the shared fixture: three exchanges and a connection that cannot be read.
func view() (*View, *model) {
	v := &View{o: Options{Title: "curl\x1b[2J x"}}
	for i, path := range []string{"/one", "/two", "/three"} {
		get(v, path, 200+i*102, nil)
	}
	v.Verdict(&exchange.Verdict{Conn: 2, Verdict: bus.Verdict{Code: bus.VerdictNoSecret, Reason: "no secret came", Help: "start it anew"},
		Connection: bus.Connection{Flow: flow.Flow, TLS: &bus.TLSInfo{SNI: "secret.example", Version: "TLS 1.3"}}}, "app[9]")
	v.Status("running")
	m := newModel(v)
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 12})
	m.Update(tick{})
	return v, m
}

// press sends keys; a string of several letters is typed.
func press(m *model, keys ...string) (quit bool) {
	special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "tab": tea.KeyTab, "backspace": tea.KeyBackspace, "home": tea.KeyHome, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown}
	for _, k := range keys {
		if code, ok := special[k]; ok {
			m.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		if k == "ctrl+c" {
			_, cmd := m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
			return cmd != nil
		}
		for _, c := range k {
			_, cmd := m.Update(tea.KeyPressMsg{Code: c, Text: string(c)})
			quit = cmd != nil
		}
	}
	return quit
}

func TestFilterSeesBodies(t *testing.T) {
	_, m := view()
	press(m, "f", `response.body.contains("/two")`, "enter")
	if len(m.visible) != 1 {
		t.Errorf("%d rows pass, want 1", len(m.visible))
	}
}

// screen is what a person sees; it must fit, and hold no control but colours.
func screen(t *testing.T, m *model) string {
	t.Helper()
	s := ansi.Strip(m.screen())
	lines := strings.Split(s, "\n")
	if len(lines) > m.height {
		t.Errorf("%d lines on a screen of %d", len(lines), m.height)
	}
	for i, l := range lines {
		if ansi.StringWidth(l) > m.width {
			t.Errorf("line %d is too wide: %q", i, l)
		}
		lines[i] = strings.TrimRight(l, " ")
	}
	if strings.ContainsAny(s, "\x1b\r\t") {
		t.Errorf("controls on the screen: %q", s)
	}
	return strings.Join(lines, "\n")
}

func TestScreens(t *testing.T) {
	_, m := view()
	for _, c := range []struct {
		name string
		keys []string
	}{
		{"list", nil},
		{"detail", []string{"home", "enter"}},
		{"body", []string{"end"}},
		{"next", []string{"tab"}},
		{"search-in-text", []string{"/", "json", "enter"}},
		{"verdict", []string{"esc", "end", "enter"}},
		{"prompt", []string{"esc", "/", "tw"}},
		{"searched", []string{"o", "enter"}},
		{"filtered", []string{"esc", "f", "status >= 400", "enter"}},
		{"wrong-filter", []string{"f", "x", "enter"}},
		{"help", []string{"?"}},
	} {
		press(m, c.keys...)
		got := screen(t, m) + "\n"
		golden := filepath.Join("testdata", c.name+".txt")
		if *update {
			os.WriteFile(golden, []byte(got), 0o644)
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", c.name, err, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	v, m := view()
	if m.current().verdict == nil {
		t.Error("the cursor does not follow what is new")
	}
	press(m, "up")
	get(v, "/four", 200, nil)
	m.Update(tick{})
	if m.cursor != 2 {
		t.Errorf("the cursor moved to %d", m.cursor)
	}
	interrupted := 0
	if !press(m, "q") || !press(m, "ctrl+c") {
		t.Error("q and Ctrl-C do not leave")
	}
	v.o.Interrupt = func() bool { interrupted++; return interrupted == 1 }
	if press(m, "ctrl+c") || !press(m, "ctrl+c") || interrupted != 2 {
		t.Error("Ctrl-C does not interrupt first, and leave then")
	}
	press(m, "/", "nothing like it", "enter")
	if len(m.visible) != 0 || press(m, "enter") || m.page != pageList {
		t.Error("an empty list can be opened")
	}
	if s := screen(t, m); !strings.Contains(s, "nothing passes") {
		t.Error(s)
	}
	press(m, "esc")
	if len(m.visible) != 5 {
		t.Errorf("%d rows", len(m.visible))
	}
}

// TestAnySize: no size of the screen makes it fail.
func TestAnySize(t *testing.T) {
	_, m := view()
	for _, page := range []string{"", "enter", "esc", "?", "o"} {
		press(m, page)
		for w := range 40 {
			for h := range 8 {
				m.Update(tea.WindowSizeMsg{Width: w * 4, Height: h})
				press(m, "down", "pgdown")
				m.screen()
			}
		}
	}
}

func TestTheOldestGoFirst(t *testing.T) {
	v := &View{}
	forgotten := 0
	for i := range maxRows + 10 {
		get(v, fmt.Sprintf("/%d", i), 200, func() { forgotten++ })
	}
	m := newModel(v)
	m.Update(tick{})
	if forgotten != 10 || len(m.rows) != maxRows || m.rows[0].line.URL != "http://example.com/10" {
		t.Errorf("%d forgotten, %d rows, first %s", forgotten, len(m.rows), m.rows[0].line.URL)
	}
}

func TestOutputIsKeptAndPrinted(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, m := view()
	w := v.Output(f)
	io.WriteString(w, "one\ntwo\x1b[2J\n")
	press(m, "o")
	if s := screen(t, m); !strings.Contains(s, "one\ntwo\uFFFD[2J") {
		t.Error(s)
	}
	if b, _ := os.ReadFile(f.Name()); len(b) != 0 {
		t.Errorf("printed while the view has the terminal: %q", b)
	}
	v.Release()
	io.WriteString(w, "three\n")
	if b, _ := os.ReadFile(f.Name()); string(b) != "one\ntwo\x1b[2J\nthree\n" {
		t.Errorf("printed: %q", b)
	}
}
