package translate

import (
	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// How long (ns) a row begins before its timing, and its timing before its first
// part. With the first the frontend's HAR export has no negative numbers; with
// the second it knows a connection that was opened at once from one that
// waited, since it takes 0 for none.
const (
	requestLead = int64(20e3)
	timingLead  = int64(10e3)
)

// timing is that of the exchange whose response head e brings, as the wire saw it.
func (x *exchange) timing(e *bus.Event) cdp.Timing {
	base := x.begun - timingLead
	t := cdp.NoTiming(seconds(base))
	ms := func(at int64) float64 { return float64(max(at, x.begun)-base) / 1e6 }
	if x.connect {
		f := &x.c.facts
		end := f.Established
		if f.TLS != nil && f.TLS.Finished > 0 {
			end = max(end, f.TLS.Finished)
			started := f.TLS.Started
			if f.Transport == "udp" || started < f.Opened {
				started = max(f.Established, f.Opened)
			}
			t.SSLStart, t.SSLEnd = ms(started), ms(f.TLS.Finished)
		}
		if end > 0 {
			t.ConnectStart, t.ConnectEnd = ms(f.Opened), ms(end)
		}
		if l := x.c.lookup; l != nil && l.Own {
			t.DNSStart, t.DNSEnd = ms(l.Asked), ms(min(l.Answered, f.Opened))
		}
	}
	sent := min(x.sendEnd, e.Time)
	t.SendStart, t.SendEnd = ms(x.start), ms(sent)
	if x.request.Pushed {
		t.PushStart, t.PushEnd = seconds(x.begun), seconds(e.Time)
	}
	t.ReceiveHeadersStart, t.ReceiveHeadersEnd = ms(e.Time), ms(max(e.Time, e.Response.HeadEnd))
	return t
}
