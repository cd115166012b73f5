// Package exchange folds the events of the HTTP layer into whole exchanges, for
// sinks that want one value a request: HAR files, terminal lines. It also joins
// the connection's facts and the process that opened it.
package exchange

import (
	"net/netip"

	"clipper/bus"
	"clipper/bus/lookup"
)

// Exchange is a request and what became of it. Times are Unix ns of the packets,
// 0 where the thing did not happen.
type Exchange struct {
	Conn   bus.ConnID
	Stream uint64

	Request      *bus.Request // nil: not captured
	RequestTime  int64        // first byte of the head
	RequestEnded int64        // last byte
	RequestEnd   *bus.MessageEnd

	Information []Information // interim responses, at most MaxInformation

	Response      *bus.Response
	ResponseTime  int64
	ResponseEnded int64
	ResponseEnd   *bus.MessageEnd

	// Body sizes so far by direction: before and after the content coding is undone.
	Wire, Decoded [2]uint64

	Failure *bus.Failure
	Failed  int64

	Losses bus.Losses // while it was open

	Messages     []Message // WebSocket, SSE, gRPC: the first of them, see MaxMessageBytes
	MessageCount uint64    // all of them
	messageBytes int

	Connection bus.Connection // as known when the exchange ended
	First      bool           // the connection's first exchange: it waited for the connection
	Lookup     *lookup.Lookup // of the server's name; nil: none was seen
	Process    Process
}

// Information is an interim response (RFC 9110, section 15.2).
type Information struct {
	Time     int64
	Response *bus.Response
}

// Message is a message with its time and direction.
type Message struct {
	Time int64
	Dir  bus.Dir
	*bus.Message
}

// Process is who opened the connection; PID 0 is not known.
type Process struct {
	PID  int
	Exe  string
	Argv []string
}

// Verdict says why a connection can't be read, or could not be made.
type Verdict struct {
	Conn       bus.ConnID
	Time       int64
	Verdict    bus.Verdict
	Connection bus.Connection
	Process    Process
}

// Peer is who was to be reached: the name that was looked up, the server's name
// in the TLS handshake, or its address.
func (v *Verdict) Peer() string {
	switch t := v.Connection.TLS; {
	case v.Verdict.Name != "":
		return v.Verdict.Name
	case t != nil && t.SNI != "":
		return t.SNI
	}
	return v.Connection.Server.String()
}

// Verdict codes of connections that were never made, beside those of package bus.
const (
	Refused     bus.VerdictCode = "refused"
	Unreachable bus.VerdictCode = "unreachable"
	Timeout     bus.VerdictCode = "timeout"
)

// Limits on the memory of one exchange.
const (
	MaxInformation  = 16
	MaxMessages     = 4096
	MaxMessageBytes = 1 << 20
)

// Finished reports whether request and response ended, or the exchange failed.
func (x *Exchange) Finished() bool {
	return x.Failed != 0 || x.ResponseEnded != 0 && (x.RequestEnded != 0 || x.Request == nil)
}

// Started is when the exchange began: for the first of a connection, when the
// connection was opened, or the look-up of the name before it.
func (x *Exchange) Started() int64 {
	switch {
	case !x.First || x.Connection.Opened == 0 || x.Connection.Partial:
		return x.begin()
	case x.Lookup != nil && x.Lookup.Own:
		return min(x.Lookup.Asked, x.Connection.Opened)
	}
	return x.Connection.Opened
}

// begin is the first byte of the exchange itself.
func (x *Exchange) begin() int64 {
	if x.RequestTime != 0 {
		return x.RequestTime
	}
	return x.ResponseTime
}

// Ended is the time of the last thing that happened.
func (x *Exchange) Ended() int64 {
	return max(x.begin(), x.RequestEnded, x.ResponseTime, x.ResponseEnded, x.Failed)
}

// Timings are durations in ns; -1 where a phase does not apply or is not known.
// Their sum is Ended - Started.
type Timings struct {
	Blocked, DNS, Connect, TLS, Send, Wait, Receive int64
}

// Timings derives the phases. Connect is from SYN to SYN/ACK, without TLS.
func (x *Exchange) Timings() Timings {
	t := Timings{Blocked: -1, DNS: -1, Connect: -1, TLS: -1}
	c := &x.Connection
	at := x.Started()
	if at != x.begin() {
		blocked := int64(0)
		if at != c.Opened {
			t.DNS = max(0, min(x.Lookup.Answered, c.Opened)-at)
			blocked = c.Opened - at - t.DNS
			at = c.Opened
		}
		if c.Established != 0 {
			t.Connect = max(0, min(c.Established, x.begin())-at)
			at += t.Connect
		}
		if c.TLS != nil && c.TLS.Finished != 0 {
			// The time between SYN/ACK and ClientHello counts as TLS.
			t.TLS = max(0, min(c.TLS.Finished, x.begin())-at)
			at += t.TLS
		}
		t.Blocked = blocked + x.begin() - at
		at = x.begin()
	}
	end := x.Ended()
	sent := end
	if x.RequestEnded != 0 {
		sent = x.RequestEnded
	}
	if x.ResponseTime != 0 {
		sent = min(sent, x.ResponseTime)
	}
	sent = max(sent, at)
	t.Send = sent - at
	got := end
	if x.ResponseTime != 0 {
		got = max(x.ResponseTime, sent)
	}
	t.Wait = got - sent
	t.Receive = end - got
	return t
}

// socket identifies a connection in socket events.
type socket struct {
	transport     string
	local, remote netip.AddrPort
}
