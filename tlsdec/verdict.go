package tlsdec

import (
	"encoding/json"

	"clipper/bus"
)

const (
	helpSecrets = "Start the program under `clipper up`, or make it write an SSLKEYLOGFILE and give that with --keylog."
	helpCapture = "Start the capture before the connection is opened."
)

// opaque says why the connection, or a part of it, can't be read. The same code
// is not repeated, but once to make it final.
func (c *conn) opaque(v bus.Verdict, t int64) {
	if c.verdict == v.Code && !(c.preliminary && !v.Preliminary) {
		return
	}
	c.verdict, c.preliminary = v.Code, v.Preliminary
	payload, err := json.Marshal(&v)
	if err != nil {
		return
	}
	c.emit(bus.Opaque, payload, t)
}

// to names the server for a sentence.
func (c *conn) to() string {
	if c.tls != nil && c.tls.info.SNI != "" {
		return c.tls.info.SNI
	}
	if c.open.Server.IsValid() {
		return c.open.Server.String()
	}
	return "the server"
}

// noKeyVerdict says why a connection that waits for a secret can't be read.
func (c *conn) noKeyVerdict() bus.Verdict {
	s := c.tls
	switch e := c.d.secrets.get(s.random); {
	case e.has(c.wants):
		return bus.Verdict{Code: bus.VerdictDamaged, Reason: "No secret that was logged for the TLS connection to " + c.to() + " fits its records."}
	case s.hello != nil && s.hello.ech:
		return bus.Verdict{Code: bus.VerdictECH, Help: helpSecrets,
			Reason: "No TLS secret fits the connection to " + c.to() + ", which offered Encrypted Client Hello: the true server name may be another."}
	}
	return bus.Verdict{Code: bus.VerdictNoSecret, Reason: "No TLS secret was logged for the connection to " + c.to() + ".", Help: helpSecrets}
}

// unreadable makes a direction opaque for want of a secret. The verdict comes at
// the end: when an alert of the other direction ended the handshake, there was
// nothing to read but the answer to the alert.
func (c *conn) unreadable(h *half) {
	h.mode = modeOpaque
	c.flushInfo(c.at)
	if c.unread == nil {
		v := c.noKeyVerdict()
		c.unread, c.unreadAt = &v, c.at
	}
}

// damaged makes a direction opaque from here on.
func (c *conn) damaged(h *half, what string) {
	h.mode = modeOpaque
	h.freePartial(c.d)
	c.flushInfo(c.at)
	c.opaque(bus.Verdict{Code: bus.VerdictDamaged, Reason: "The TLS stream from the " + sender(h.dir) + " of " + c.to() + " can't be followed any further: " + what}, c.at)
	c.advanced()
}

// unsupported makes the connection opaque for a suite or version that is not implemented.
func (c *conn) unsupported(code bus.VerdictCode, what string) {
	c.half[0].mode, c.half[1].mode = modeOpaque, modeOpaque
	c.flushInfo(c.at)
	c.opaque(bus.Verdict{Code: code, Reason: "The TLS connection to " + c.to() + " uses " + what + ", which Clipper does not have."}, c.at)
	c.advanced()
}

// midstream makes a connection opaque whose beginning was not captured.
func (c *conn) midstream(t int64) {
	c.half[0].mode, c.half[1].mode = modeOpaque, modeOpaque
	c.opaque(bus.Verdict{Code: bus.VerdictMidstream, Reason: "The TLS connection to " + c.to() + " began before the capture.", Help: helpCapture}, t)
	c.advanced()
}

// notTLS notes that the server answered a ClientHello with something else.
func (c *conn) notTLS(h *half, b []byte, t int64) {
	if c.tls.late || c.half[bus.ServerToClient].out > 0 {
		return // what it said before, on its way
	}
	if b[0] >= byte(typeChangeCipherSpec) && b[0] <= byte(typeHeartbeat) || len(b) > 1 && b[1] == 3 {
		c.damaged(h, "The answer is no ServerHello.")
		return
	}
	c.flushInfo(t)
	c.opaque(bus.Verdict{Code: bus.VerdictHandshake, Reason: "The server " + c.to() + " answered the ClientHello with something that is not TLS."}, t)
}

// refused says by whose alert the handshake failed.
func (c *conn) refused(a *bus.Alert) {
	if c.tls.data {
		return
	}
	c.flushInfo(a.Time)
	c.opaque(c.refusal(a), a.Time)
}

func (c *conn) refusal(a *bus.Alert) bus.Verdict {
	return bus.Verdict{Code: bus.VerdictHandshake,
		Reason: "The TLS handshake with " + c.to() + " failed: the " + sender(a.Dir) + " sent the alert " + a.Description + "."}
}

// heldAlert is a fatal alert in the clear behind the record that waits for a
// secret: who sends one has not got the keys of TLS 1.3, and logs none. A server's
// session tickets wait like that for a client that refused its certificate.
func (c *conn) heldAlert() *bus.Alert {
	if !c.tls.tls13 {
		return nil
	}
	var seen [2]bool
	for i := range c.queue {
		r := &c.queue[i]
		h := &c.half[r.Dir&1]
		if r.Type != bus.Data || seen[h.dir] {
			continue
		}
		seen[h.dir] = true
		b := r.Payload
		if h.mode != modeTLS || h.prot != nil || len(h.partial) > 0 || h.loss.any {
			continue // no record begins here, or none in the clear
		}
		if len(b) > recordHeaderLen && contentType(b[0]) == typeChangeCipherSpec {
			b = b[recordHeaderLen+1:]
		}
		const length = recordHeaderLen + 2
		if len(b) >= length && contentType(b[0]) == typeAlert && b[3] == 0 && b[4] == 2 && b[5] == alertFatal {
			return &bus.Alert{Dir: h.dir, Level: "fatal", Description: alertName(b[6]), Code: b[6], Time: r.Time}
		}
	}
	return nil
}

// unfinished says so when the connection ended in the middle of its handshake.
func (c *conn) unfinished(r *bus.Record) {
	s := c.tls
	if c.verdict != "" || s.data || s.failed || c.half[0].finished && c.half[1].finished {
		return
	}
	var end bus.ConnEnd
	_ = json.Unmarshal(r.Payload, &end) // what is missing counts as unknown
	what := "connection"
	if end.Reason == bus.EndCapture {
		what = "capture"
	}
	c.opaque(bus.Verdict{Code: bus.VerdictHandshake, Reason: "The " + what + " ended in the middle of the TLS handshake with " + c.to() + "."}, r.Time)
}

func sender(d bus.Dir) string {
	if d == bus.ServerToClient {
		return "server"
	}
	return "client"
}
