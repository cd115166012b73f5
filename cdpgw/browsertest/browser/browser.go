// Package browser drives headless Chromium for tests that look at the rendered
// DevTools page: its rows, and the views of a row.
package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// PageJS runs in the page: it looks through the frontend's shadow roots.
//
//go:embed page.js
var PageJS string

// Tab is a page in a Chromium of its own.
type Tab struct {
	Ctx context.Context // of chromedp
	t   testing.TB
}

// Size of the window in CSS pixels.
const (
	Width  = 1500
	Height = 1000
)

// Start starts Chromium with a fresh profile. It skips the test where there is none.
func Start(t testing.TB) *Tab {
	t.Helper()
	return StartWith(t, "")
}

// StartWith is Start with preferences of the profile, as JSON.
func StartWith(t testing.TB, preferences string) *Tab {
	t.Helper()
	profile := t.TempDir()
	if preferences != "" {
		if err := errors.Join(os.Mkdir(filepath.Join(profile, "Default"), 0o700), os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(preferences), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(profile), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return &Tab{ctx, t}
}

// Open loads a page.
func (b *Tab) Open(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.Ctx, chromedp.EmulateViewport(Width, Height), chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("open %s: %v", url, err)
	}
}

// Close leaves the page.
func (b *Tab) Close() {
	b.t.Helper()
	if err := chromedp.Do(b.Ctx, chromedp.Navigate("about:blank")); err != nil {
		b.t.Fatal(err)
	}
}

// Eval runs an expression in the page; its value must be JSON.
func (b *Tab) Eval(expr string, v any) {
	b.t.Helper()
	s, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](`(typeof clipperTest === 'undefined' && (0,eval)(`+Quote(PageJS)+`), JSON.stringify(`+expr+`))`))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	if err := json.Unmarshal([]byte(s), v); err != nil {
		b.t.Fatalf("%s: %v in %s", expr, err, s)
	}
}

// Quote is s as a literal of JavaScript.
func Quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// Text is Eval of an expression that gives a string.
func (b *Tab) Text(expr string) (s string) {
	b.t.Helper()
	b.Eval(expr, &s)
	return s
}

// Rows waits until the list has n rows at least, and gives the text of each cell
// by the name of its column. Only rows in the window are rendered.
func (b *Tab) Rows(n int) (rows []map[string]string) {
	b.t.Helper()
	if !b.Until(func() bool { b.Eval("clipperTest.rows()", &rows); return len(rows) >= n && Settled(rows) }) {
		b.t.Fatalf("%d rows, want %d: %v\n%s", len(rows), n, rows, b.Text("clipperTest.body()"))
	}
	return rows
}

// Settled reports whether the links of the initiators are there: the frontend
// fills them in after the row.
func Settled(rows []map[string]string) bool {
	for _, r := range rows {
		if r["initiator"] == "Script" {
			return false
		}
	}
	return true
}

// Until polls, for the frontend renders when it likes; two minutes are never.
func (b *Tab) Until(ok func() bool) bool {
	for range 1200 {
		if ok() {
			return true
		}
		select {
		case <-b.Ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false
}

// Item opens the row whose name contains row, one of its tabs ("" stays), and waits until
// the view contains every text of want. It returns the view's text.
func (b *Tab) Item(row, name string, want ...string) (view string) {
	b.t.Helper()
	var ok bool
	if b.Until(func() bool { b.Eval("clipperTest.open("+Quote(row)+")", &ok); return ok }) && name != "" {
		b.Until(func() bool { b.Eval("clipperTest.tab("+Quote(name)+")", &ok); return ok })
	}
	if !ok {
		var tabs []string
		b.Eval("clipperTest.tabs()", &tabs)
		b.t.Errorf("%s: no tab %q, there are %q", row, name, tabs)
		return ""
	}
	if !b.Until(func() bool {
		view = b.Text("clipperTest.view()")
		for _, w := range want {
			if !strings.Contains(view, w) {
				return false
			}
		}
		return true
	}) {
		b.t.Errorf("%s, %s: want %q in: %s", row, name, want, view)
	}
	return view
}

// Menu opens the menu of the row whose name contains row and goes through its
// items, each by the beginning of its name; with none it only opens it.
func (b *Tab) Menu(row string, items ...string) {
	b.t.Helper()
	b.click("row", row, chromedp.ButtonRight)
	for _, name := range items {
		b.click("item", name)
	}
}

func (b *Tab) click(kind, name string, opts ...chromedp.MouseOption) {
	b.t.Helper()
	var at []float64
	if !b.Until(func() bool {
		b.Eval("clipperTest.place("+Quote(kind)+", "+Quote(name)+")", &at)
		return len(at) == 2
	}) {
		var items []string
		b.Eval("clipperTest.menuItems()", &items)
		b.t.Fatalf("no %s %q; the menu: %q", kind, name, items)
	}
	if err := chromedp.Do(b.Ctx, chromedp.MouseClickXY(at[0], at[1], opts...)); err != nil {
		b.t.Fatal(err)
	}
}

// Screenshot writes a PNG of the window.
func (b *Tab) Screenshot(path string) {
	b.t.Helper()
	png, err := chromedp.Run(b.Ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("screenshot: %v", err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
