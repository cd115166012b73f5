package browsertest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/cdpgw"
)

// conditions is a gateway whose network says what it is asked.
func conditions(t *testing.T) (*cdpgw.Gateway, func(want string)) {
	t.Helper()
	asked := make(chan bus.Conditions, 100)
	g := gatewayWith(t, cdpgw.Options{Conditions: func(c bus.Conditions) error { asked <- c; return nil }}, "h2-get", "blocked")
	return g, func(want string) {
		t.Helper()
		select {
		case c := <-asked:
			if b, _ := json.Marshal(c); string(b) != want {
				t.Errorf("asked for %s\nwant      %s", b, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing is asked, want %s", want)
		}
	}
}

func (b *tab) must(expr string) {
	b.t.Helper()
	var ok bool
	if !b.Until(func() bool { b.Eval(expr, &ok); return ok }) {
		b.shot("failed")
		b.t.Fatalf("%s fails: %s", expr, b.Text("clipperTest.body()"))
	}
}

// The throttling menu changes the network; a reload ends that, as it ends with
// the page.
func TestThrottlingMenu(t *testing.T) {
	g, want := conditions(t)
	b := chromium(t)
	b.open(g.Status().URL, 5)
	b.must(`clipperTest.choose('3G')`)
	want(`{"limits":[{"latency":400000000,"download":50000,"upload":50000}]}`)
	b.shot("throttled")
	b.must(`clipperTest.choose('Offline')`)
	want(`{"offline":true}`)
	b.must(`clipperTest.choose('No throttling')`)
	want(`{}`)
	b.must(`clipperTest.choose('Fast 4G')`)
	want(`{"limits":[{"latency":60000000,"download":1012500,"upload":168750}]}`)
	b.open(g.Status().URL, 5)
	want(`{}`)
	b.must(`clipperTest.choose('Slow 4G')`)
	want(`{"limits":[{"latency":150000000,"download":180000,"upload":84375}]}`)
	b.Close()
	want(`{}`)
}

// A row's menu and the drawer block its host, and never one URL of it.
func TestBlockHost(t *testing.T) {
	g, want := conditions(t)
	b := chromium(t)
	rows := b.open(g.Status().URL, 5)
	for name, status := range map[string]string{"ads.example.test": "(blocked:devtools)", "banner": "(blocked:devtools)", "late.example.test": "(blocked:devtools)"} {
		if r := find(rows, name); !strings.Contains(r["status"], status) {
			t.Errorf("%s: %v", name, r)
		}
	}
	b.Menu("users?page=1", "Block requests")
	var items []string
	b.Eval(`clipperTest.menuItems()`, &items)
	b.shot("block-menu")
	if slices.ContainsFunc(items, func(s string) bool {
		return strings.HasPrefix(s, "Block request URL") || strings.HasPrefix(s, "Override") || strings.Contains(s, "browser cache")
	}) {
		t.Errorf("menu: %q", items)
	}
	b.Menu("users?page=1", "Block requests", "Block request domain")
	want(`{"blocking":[{"host":"api.example.test","ports":[80,443],"flows":[{"transport":"tcp","client":"10.0.2.15:40000","server":"203.0.113.10:443"}],"block":true}]}`)
	b.must(`clipperTest.body().includes('*://api.example.test')`)
	b.shot("blocked")
	b.Close()
	want(`{}`)
}

// The network of a recording can't be changed, so there is no control for it.
func TestRecordedHasNoThrottling(t *testing.T) {
	g := gateway(t, "h2-get")
	b := chromium(t)
	b.open(g.Status().URL, 2)
	var found bool
	if b.Eval(`clipperTest.choose('Offline')`, &found); found {
		t.Error("a recording can be throttled")
	}
}
