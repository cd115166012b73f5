package translate

import (
	"fmt"
	"strings"

	"clipper/bus"
)

// netErrors name causes as Chrome does, by the beginning of the failure's code.
var netErrors = []struct{ code, name string }{
	{"refused", "net::ERR_CONNECTION_REFUSED"},
	{"unreachable", "net::ERR_ADDRESS_UNREACHABLE"},
	{"tls-alert", "net::ERR_SSL_PROTOCOL_ERROR"},
	{"goaway", "net::ERR_HTTP2_SERVER_REFUSED_STREAM"},
	{"stream-reset-by-client", "net::ERR_ABORTED"},
	{"stream-reset", "net::ERR_HTTP2_PROTOCOL_ERROR"},
	{"reset", "net::ERR_CONNECTION_RESET"},
	{"fin-mid-body", "net::ERR_CONTENT_LENGTH_MISMATCH"},
	{"fin-before-response", "net::ERR_EMPTY_RESPONSE"},
	{"fin", "net::ERR_CONNECTION_CLOSED"},
	{"closed-by-client", "net::ERR_ABORTED"},
	{"closed", "net::ERR_CONNECTION_CLOSED"},
	{"idle", "net::ERR_TIMED_OUT"},
	{"malformed", "net::ERR_INVALID_HTTP_RESPONSE"},
}

// failureText is the cause as Chrome names it, where it has a name, with the
// wire's own words. Canceled is what the client itself gave up.
func failureText(f *bus.Failure) (text string, canceled bool) {
	reason := strings.TrimSpace(f.Reason)
	if reason == "" {
		reason = f.Code
	}
	canceled = strings.HasPrefix(f.Code, "stream-reset-by-client") || f.Code == "closed-by-client"
	for _, e := range netErrors {
		if strings.HasPrefix(f.Code, e.code) {
			return e.name + " (" + reason + ")", canceled
		}
	}
	if reason == "" {
		return "net::ERR_FAILED", canceled
	}
	return reason, canceled
}

// closedText says why a connection ended, "" when it ended in order.
func closedText(r bus.EndReason) string {
	switch r {
	case bus.EndReset:
		return "net::ERR_CONNECTION_RESET"
	case bus.EndRefused:
		return "net::ERR_CONNECTION_REFUSED"
	case bus.EndUnreach:
		return "net::ERR_ADDRESS_UNREACHABLE"
	case bus.EndIdle:
		return "net::ERR_TIMED_OUT (no packet for the idle limit)"
	}
	return ""
}

func alertText(a *bus.Alert) string {
	by := "client"
	if a.Dir == bus.ServerToClient {
		by = "server"
	}
	return fmt.Sprintf("TLS alert: %s (%d) sent by the %s", a.Description, a.Code, by)
}

// verdictText is short, for the list. A failed handshake and another protocol
// are no fault of Clipper's reading.
func verdictText(v *bus.Verdict) string {
	reason := v.Reason
	if reason == "" {
		reason = string(v.Code)
	}
	switch v.Code {
	case bus.VerdictHandshake, bus.VerdictNotHTTP:
		return reason
	case bus.VerdictDNS:
		return "net::ERR_NAME_NOT_RESOLVED (" + strings.TrimPrefix(reason, v.Name+": ") + ")"
	}
	return "can't be read: " + reason
}
