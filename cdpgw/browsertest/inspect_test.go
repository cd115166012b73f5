package browsertest

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"clipper/cdpgw"
	"clipper/cdpgw/browsertest/browser"
)

// chrome://inspect finds the session and its processes by itself.
func TestInspectPage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	gatewayWith(t, cdpgw.Options{Addr: addr}, "h2-get", "h1-post")
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
