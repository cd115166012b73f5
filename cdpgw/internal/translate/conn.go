package translate

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"clipper/bus"
	"clipper/bus/lookup"
	"clipper/cdpgw/internal/cdp"
)

// conn is a transport connection.
type conn struct {
	t         *Translator
	id        bus.ConnID
	number    int64 // shown as the connection id
	facts     bus.Connection
	lookup    *lookup.Lookup // of the server's name; nil: none is known
	security  *cdp.SecurityDetails
	certified bool // security holds the certificate
	process   *Process
	gaveUp    bool // its process stayed unknown
	held      []*bus.Event
	deadline  time.Time // when held events are let go
	exchanges map[uint64]*exchange
	used      bool                 // had an exchange
	host      string               // of the newest request, without its port
	note      *exchange            // the row that explains the connection itself
	names     map[string]*exchange // the rows of names that were looked up in vain
	doubt     *bus.Event           // a preliminary verdict that is not shown yet
	doubtEnds time.Time
}

func (c *conn) setFacts(f *bus.Connection) {
	c.facts = *f
	if c.lookup == nil && (f.Transport == "tcp" || f.TLS != nil) {
		c.lookup = c.t.names.Find(f)
	}
	if f.TLS == nil {
		return
	}
	tls := *f.TLS
	c.facts.TLS = &tls
	c.security = securityDetails(&tls)
	if len(tls.Certificates) > 0 && !c.certified {
		c.certified = true
		chain := make([][]byte, len(tls.Certificates))
		for i, der := range tls.Certificates {
			chain[i] = append([]byte(nil), der...)
		}
		c.t.certs.put("https://"+c.authority(true), chain)
		c.t.certs.put("https://"+c.authority(false), chain)
	}
}

// pid is that of the TLS secrets, or 0.
func (c *conn) pid() int {
	if c.facts.TLS != nil {
		return c.facts.TLS.PID
	}
	return 0
}

// authority is the server's name, or its address, with its port unless that is
// the scheme's own and short is set.
func (c *conn) authority(short bool) string {
	host := c.facts.Server.Addr().Unmap().String()
	if c.facts.TLS != nil && c.facts.TLS.SNI != "" {
		host = c.facts.TLS.SNI
	}
	port := c.facts.Server.Port()
	if short && (port == 443 && c.facts.TLS != nil || port == 80 && c.facts.TLS == nil) {
		if net.ParseIP(host) != nil && net.ParseIP(host).To4() == nil {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// handle is HTTP after the wait for the process.
func (c *conn) handle(e *bus.Event) {
	switch e.Type {
	case bus.EventRequest:
		c.settle()
		if e.Request != nil && c.exchanges[e.Stream] == nil {
			c.request(e)
		}
	case bus.EventVerdict:
		switch {
		case e.Verdict == nil:
		case e.Verdict.Preliminary && c.note == nil && c.names[e.Verdict.Name] == nil:
			c.settle()
			c.doubt, c.doubtEnds = clone(e), c.t.now.Add(DoubtWait)
			c.t.doubts = append(c.t.doubts, c)
		default:
			c.judge(e)
		}
	case bus.EventClosed:
		c.closed(e)
	default:
		x := c.exchanges[e.Stream]
		if x == nil {
			if e.Type != bus.EventResponse || e.Response == nil {
				return
			}
			x = c.unseenRequest(e)
		}
		x.handle(e)
	}
}

// closed ends what the decoder left open, and shows a connection that had no
// exchange because it failed.
func (c *conn) closed(e *bus.Event) {
	defer delete(c.t.conns, c.id)
	c.settle()
	for _, x := range c.sorted() {
		x.abandon(e)
	}
	if c.used || c.note != nil || c.names != nil {
		return
	}
	if tls := c.facts.TLS; tls != nil && tls.Alert != nil && tls.Alert.Level != "warning" {
		text := alertText(tls.Alert)
		c.explain(max(tls.Alert.Time, 0), text, text+"\n\n"+c.describe())
		return
	}
	if e.Closed == nil {
		return
	}
	if text := closedText(e.Closed.Reason); text != "" {
		c.explain(e.Time, text, text+"\n\n"+c.describe())
	}
}

// settle forgets a verdict that is not shown yet.
func (c *conn) settle() {
	if c.doubt != nil {
		c.doubt = nil
		i := slices.Index(c.t.doubts, c)
		c.t.doubts = slices.Delete(c.t.doubts, i, i+1)
	}
}

// judge shows a verdict. That the bytes are not HTTP is no news after a verdict
// that says why.
func (c *conn) judge(e *bus.Event) {
	c.settle()
	v := e.Verdict
	if c.note != nil && v.Code == bus.VerdictNotHTTP {
		return
	}
	shown := *v
	if c.process != nil {
		shown = c.process.hooks.Verdict(shown)
	}
	if v.Name != "" {
		c.explainName(e.Time, v.Name, verdictText(v), verdictNote(c, &shown))
		return
	}
	c.explain(e.Time, verdictText(v), verdictNote(c, &shown))
}

// explainName shows a look-up as a failed row of the name, which is where the
// request would have gone.
func (c *conn) explainName(at int64, name, text, explanation string) {
	x := c.names[name]
	if x == nil {
		if c.names == nil || len(c.names) >= maxNames {
			c.names = map[string]*exchange{}
		}
		row := c.t.row()
		x = &exchange{c: c, id: c.id.String() + ".n" + strconv.FormatUint(row, 10), row: row, kind: "Other", begun: c.begun(at), noted: true}
		c.names[name] = x
		to := url.URL{Scheme: "http", Host: name, Path: "/"}
		x.sendRequest(&bus.Request{Method: "DNS", URL: to.String()}, nil)
	}
	x.tell(at, text, explanation)
}

// explain shows the connection itself as a failed row that says why there is
// no exchange. A later explanation replaces the one before.
func (c *conn) explain(at int64, text, explanation string) {
	if c.note == nil {
		// There is no request, so the method is what there is.
		scheme, method := "http", strings.ToUpper(c.facts.Transport)
		if c.facts.TLS != nil {
			scheme = "https"
			if method != "UDP" {
				method = "TLS"
			}
		}
		x := &exchange{c: c, id: c.id.String() + ".c", row: c.t.row(), kind: "Other", begun: c.begun(at), noted: true}
		c.note = x
		x.sendRequest(&bus.Request{Method: method, URL: scheme + "://" + c.authority(true) + "/"}, nil)
	}
	c.note.tell(at, text, explanation)
}

// tell says why there is no exchange in a row.
func (x *exchange) tell(at int64, text, explanation string) {
	x.c.t.notes.put(x.id, note{x.c.id, explanation})
	x.fail(max(at, x.begun), text, false)
}

// begun is when the connection was opened, or the time given when that is unknown.
func (c *conn) begun(at int64) int64 {
	if c.facts.Opened > 0 && c.facts.Opened <= at {
		return c.facts.Opened
	}
	return at
}
