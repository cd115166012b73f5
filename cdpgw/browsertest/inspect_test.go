package browsertest

import (
	"fmt"
	"strings"
	"testing"

	"clipper/cdpgw/browsertest/browser"
)

// chrome://inspect finds the session and its processes by itself.
func TestInspectPage(t *testing.T) {
	g := gateway(t, "h2-get", "h1-post")
	addr := strings.Trim(strings.TrimPrefix(g.Status().URL, "http://"), "/")
	b := &tab{Tab: browser.StartWith(t, fmt.Sprintf(`{"devtools": {"discover_tcp_targets": true, "tcp_discovery_config": [%q]}}`, addr)), t: t}
	b.ctx = b.Ctx
	b.Open("chrome://inspect/#devices")
	want := []string{addr + " (0.1)", "Clipper: curl -s https://api.example.test/v1/users (pid 4242)", "Clipper: curl (pid 4242)", "Clipper: python3.13 (pid 5151)", "inspect"}
	var body string
	if !b.Until(func() bool {
		b.Eval(`document.body ? document.body.innerText : ''`, &body)
		for _, w := range want {
			if !strings.Contains(body, w) {
				return false
			}
		}
		return true
	}) {
		t.Errorf("want %q in: %s", want, body)
	}
	b.shot("inspect")
}
