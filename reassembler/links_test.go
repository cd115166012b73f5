package reassembler_test

import (
	"strings"
	"testing"
)

const exchange = `
> S
< SA
> PA "GET / HTTP/1.1\r\n\r\n"
< PA "HTTP/1.1 200 OK\r\n\r\n"
> FA
< FA
conn six [2001:db8::1]:40000 [2001:db8::2]:443 1 2
six> S
six< SA
six> A x300
six> FA
six< FA
> udp "datagram"
eos
`

// Every link type and tunnel carries the same exchange.
func TestLinks(t *testing.T) {
	want := transcript(run(parseScript(t, exchange)))
	if !strings.Contains(want, "300 bytes") {
		t.Fatal(want)
	}
	for _, link := range links {
		if got := transcript(run(parseScript(t, "link "+link+"\n"+exchange))); got != want {
			t.Errorf("%s gives\n%s\nwant\n%s", link, got, want)
		}
	}
}
