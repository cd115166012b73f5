package browsertest

import (
	"bufio"
	"clipper/cdpgw/browsertest/browser"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// bidi is a page in headless Firefox, by WebDriver BiDi.
type bidi struct {
	t       *testing.T
	ws      *websocket.Conn
	next    int
	context string
}

func firefox(t *testing.T) *bidi {
	t.Helper()
	path, err := exec.LookPath("firefox-esr")
	if err != nil {
		if path, err = exec.LookPath("firefox"); err != nil {
			t.Skip("Firefox is not installed")
		}
	}
	c := exec.Command(path, "--headless", "--no-remote", "--profile", t.TempDir(), "--remote-debugging-port", "0", "about:blank")
	c.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	url := make(chan string, 1)
	go func() {
		listening := regexp.MustCompile(`BiDi listening on (ws://\S+)`)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				url <- m[1]
			}
		}
	}()
	b := &bidi{t: t}
	select {
	case u := <-url:
		if b.ws, _, err = websocket.DefaultDialer.Dial(u+"/session", nil); err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("Firefox does not listen")
	}
	t.Cleanup(func() { b.ws.Close() })
	b.call("session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	var tree struct{ Contexts []struct{ Context string } }
	b.call("browsingContext.getTree", map[string]any{}, &tree)
	b.context = tree.Contexts[0].Context
	b.call("browsingContext.setViewport", map[string]any{"context": b.context, "viewport": map[string]any{"width": 1500, "height": 1000}}, nil)
	return b
}

func (b *bidi) call(method string, params, result any) {
	b.t.Helper()
	b.next++
	if err := b.ws.WriteJSON(map[string]any{"id": b.next, "method": method, "params": params}); err != nil {
		b.t.Fatal(err)
	}
	for {
		var m struct {
			ID             int
			Result         json.RawMessage
			Error, Message string
		}
		_ = b.ws.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if err := b.ws.ReadJSON(&m); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if m.ID != b.next {
			continue
		}
		if m.Error != "" {
			b.t.Fatalf("%s: %s: %s", method, m.Error, m.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// eval runs an expression of page.js and gives its value.
func (b *bidi) eval(expr string, v any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value string }
		ExceptionDetails json.RawMessage
	}
	b.call("script.evaluate", map[string]any{"awaitPromise": false, "target": map[string]any{"context": b.context},
		"expression": `(typeof clipperTest === 'undefined' && (0,eval)(` + browser.Quote(browser.PageJS) + `), JSON.stringify(` + expr + `))`}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expr, r.ExceptionDetails)
	}
	if err := json.Unmarshal([]byte(r.Result.Value), v); err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
}

func (b *bidi) until(ok func() bool) bool {
	for range 600 {
		if ok() {
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return false
}

func (b *bidi) shot(name string) {
	if *shots == "" {
		return
	}
	var r struct{ Data string }
	b.call("browsingContext.captureScreenshot", map[string]any{"context": b.context}, &r)
	png, _ := base64.StdEncoding.DecodeString(r.Data)
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		b.t.Log(err)
	}
}

// The page works in Firefox, too.
func TestFirefox(t *testing.T) {
	g := gateway(t)
	b := firefox(t)
	b.call("browsingContext.navigate", map[string]any{"context": b.context, "url": g.Status().URL, "wait": "none"}, nil)
	var rows []map[string]string
	if !b.until(func() bool {
		b.eval(`document.body ? clipperTest.rows() : []`, &rows)
		return len(rows) >= 20 && browser.Settled(rows)
	}) {
		b.shot("firefox")
		t.Fatalf("%d rows", len(rows))
	}
	b.shot("firefox")
	if r := find(rows, "users?page=1"); r["method"] != "GET" || !strings.HasPrefix(r["status"], "200") || r["protocol"] != "h2" || !strings.Contains(r["initiator"], "curl") {
		t.Errorf("row: %v", r)
	}
	var ok bool
	var view string
	b.eval(`clipperTest.open('users?page=1')`, &ok)
	for tab, want := range map[string]string{"Headers": "x-zebra 1", "Response": "Grace", "Timing": "Waiting for server response"} {
		if !b.until(func() bool {
			b.eval(`clipperTest.tab(`+browser.Quote(tab)+`)`, &ok)
			b.eval(`clipperTest.view()`, &view)
			return strings.Contains(view, want)
		}) {
			t.Errorf("%s: no %q in %s", tab, want, view)
		}
		b.shot("firefox-" + tab)
	}
	if strings.Contains(view, "Provisional") {
		t.Error("provisional headers")
	}
}
