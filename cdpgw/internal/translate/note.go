package translate

import (
	"fmt"
	"strings"
	"time"

	"clipper/bus"
)

// verdictNote is what the Response tab of an unreadable connection says.
func verdictNote(c *conn, v *bus.Verdict) string {
	var b strings.Builder
	what := "Clipper can't show what was said on this connection."
	switch v.Code {
	case bus.VerdictHandshake:
		what = "Nothing was said on this connection."
	case bus.VerdictDNS:
		what = "A name could not be looked up."
	case bus.VerdictNotHTTP:
		what = "What was said on this connection is not HTTP."
	}
	fmt.Fprintf(&b, "%s\n\nWhy:   %s (%s)\n", what, v.Reason, v.Code)
	if v.Help != "" {
		fmt.Fprintf(&b, "Help:  %s\n", v.Help)
	}
	return b.String() + "\n" + c.describe()
}

// describe lists the facts of a connection.
func (c *conn) describe() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s%s\n", name, value)
		}
	}
	f := &c.facts
	if f.Client.IsValid() {
		line("connection", fmt.Sprintf("%s %s -> %s", f.Transport, f.Client, f.Server))
	}
	if f.Opened > 0 {
		line("opened", time.Unix(0, f.Opened).UTC().Format("2006-01-02 15:04:05.000000 UTC"))
	}
	if p := c.process; p != nil {
		line("process", p.label()+"  "+p.Command())
	}
	if f.TLS != nil {
		t := f.TLS
		line("TLS", strings.TrimSpace(strings.Join([]string{t.Version, t.Cipher, t.Group}, " ")))
		line("server name", t.SNI)
		line("ALPN", strings.TrimSpace(t.ALPN+" "+offered(t.ClientALPN)))
		line("JA4", t.JA4)
		if t.Alert != nil {
			line("alert", alertText(t.Alert))
		}
	}
	return b.String()
}

func offered(alpn []string) string {
	if len(alpn) == 0 {
		return ""
	}
	return "(offered: " + strings.Join(alpn, ", ") + ")"
}
