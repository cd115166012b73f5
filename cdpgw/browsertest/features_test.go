package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/cdpgw/internal/fixture"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The search of the Network panel finds text in bodies.
func TestSearch(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	b.open(g.Status().URL, 20)
	var ok bool
	b.Until(func() bool { b.Eval(`clipperTest.button('Search')`, &ok); return ok })
	if !b.Until(func() bool { b.Eval(`clipperTest.type('input.search-toolbar-input', 'Grace')`, &ok); return ok }) {
		b.shot("search")
		t.Fatal("no search field")
	}
	if !b.Until(func() bool { return strings.Contains(b.Text(`clipperTest.body()`), `"name":"Grace"`) }) {
		b.shot("search")
		t.Error("no hit")
	}
	b.shot("search")
}

// The HAR that DevTools exports has what the wire had.
func TestExportHAR(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	dir := t.TempDir()
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: dir})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	b.open(g.Status().URL, 20)
	var ok bool
	b.Until(func() bool { b.Eval(`clipperTest.button('Export HAR')`, &ok); return ok })
	var files []string
	b.Until(func() bool { files, _ = filepath.Glob(dir + "/*.har"); return len(files) > 0 })
	if len(files) == 0 {
		b.shot("har")
		t.Fatal("no file")
	}
	var har struct {
		Log struct {
			Entries []struct {
				Request struct {
					Method, URL string
					PostData    struct{ Text string }
				}
				Response struct {
					Status  int
					Content struct{ Text, MimeType string }
				}
				ServerIPAddress string
				Timings         map[string]float64
			}
		}
	}
	if !b.Until(func() bool {
		data, _ := os.ReadFile(files[0])
		return json.Unmarshal(data, &har) == nil
	}) {
		t.Fatal("the file is no HAR")
	}
	if len(har.Log.Entries) < 18 {
		t.Errorf("%d entries", len(har.Log.Entries))
	}
	e := har.Log.Entries[0]
	if e.Request.URL != "https://api.example.test/v1/users?page=1&q=a%20b" || e.Response.Status != 200 || !strings.Contains(e.Response.Content.Text, "Grace") || e.ServerIPAddress != "203.0.113.10" {
		t.Errorf("first entry: %+v", e)
	}
	posted := false
	for _, e := range har.Log.Entries {
		posted = posted || e.Request.Method == "POST" && strings.Contains(e.Request.PostData.Text, "Linus")
	}
	if !posted {
		t.Error("no entry with the posted user")
	}
	for _, e := range har.Log.Entries {
		for k, v := range e.Timings {
			if v < -1 || (v < 0 && v > -1) {
				t.Errorf("%s: %s is %v ms", e.Request.URL, k, v)
			}
		}
	}
}

// A redirect whose follower comes after it was shown still becomes a chain.
func TestLateRedirect(t *testing.T) {
	g := gateway(t, "h2-get")
	steps, err := fixture.Read("../testdata/redirect-late.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	b := chromium(t)
	b.open(g.Status().URL, 2)
	for _, s := range steps {
		if s.Record != nil {
			g.Process(s.Record)
		} else {
			g.Flush()
			if !b.Until(func() bool { return strings.HasPrefix(find(b.Rows(3), "x short")["status"], "302") }) {
				t.Errorf("before its follower: %v", b.Rows(3))
			}
		}
	}
	b.Until(func() bool { return strings.HasPrefix(find(b.Rows(4), "y elsewhere")["status"], "200") })
	rows := b.Rows(4)
	if r := find(rows, "x short"); !strings.Contains(r["type"], "Redirect") || !strings.HasPrefix(r["status"], "302") {
		t.Errorf("redirect: %v", r)
	}
	if r := find(rows, "y elsewhere"); !strings.Contains(r["initiator"], "short.example.test/x") || !strings.HasPrefix(r["status"], "200") {
		t.Errorf("follower: %v", r)
	}
	view := b.Item("y elsewhere", "Headers", "text/plain")
	if strings.Contains(view, "Provisional") {
		t.Errorf("headers: %s", view)
	}
}

// Rows of a live session appear at once.
func TestLive(t *testing.T) {
	g := gateway(t, "h2-get")
	b := chromium(t)
	b.open(g.Status().URL, 2)
	began := time.Now()
	feed(t, g, "h1-post")
	b.Rows(4)
	t.Logf("rows after %v, with the poll of the test", time.Since(began))
}

// Nothing that a session shows runs in the page, and the page asks nobody else.
func TestHostileContent(t *testing.T) {
	g := gateway(t, "hostile")
	b := chromium(t)
	b.open(g.Status().URL, 1)
	b.Item("page", "Preview")
	b.Item("page", "Response", "script")
	time.Sleep(time.Second)
	var ran int
	b.Eval(`globalThis.hostile ?? 0`, &ran)
	var title string
	b.Eval(`document.title`, &title)
	if ran != 0 || title == "hostile" {
		t.Error("captured content ran in the page")
	}
	var foreign []string
	b.Eval(`performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith('data:') && !n.startsWith('blob:'))`, &foreign)
	if len(foreign) > 0 {
		t.Errorf("the page asked elsewhere: %v", foreign)
	}
}

// The page works without an error in its console.
func TestConsole(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	var mu sync.Mutex
	var problems []string
	note := func(format string, args ...any) {
		mu.Lock()
		problems = append(problems, fmt.Sprintf(format, args...))
		mu.Unlock()
	}
	if err := chromedp.Listen(b.ctx, func(ev any) {
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			if e.Entry.Level == "error" || e.Entry.Level == "warning" {
				note("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			note("exception: %s", e.ExceptionDetails.Text)
			if x := e.ExceptionDetails.Exception; x != nil {
				note("%s", x.Description)
			}
		case *runtime.EventConsoleAPICalled:
			if e.Type == "error" || e.Type == "assert" || e.Type == "warning" {
				for _, a := range e.Args {
					note("console.%s: %s %s", e.Type, a.Value, a.Description)
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, runtime.Enable, cdp.Empty{})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	b.open(g.Status().URL, 20)
	b.Item("users?page=1", "Response", "Grace")
	b.Item("home", "Preview")
	b.Item("logo.png", "Preview", "image/png")
	b.Item("chat", "Messages", "hello")
	mu.Lock()
	defer mu.Unlock()
	for _, p := range problems {
		t.Error(p)
	}
}
