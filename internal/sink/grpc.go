package sink

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

// grpcCodes are the status codes of gRPC (statuscodes.md of its documentation).
var grpcCodes = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// grpcFailure is why a call of gRPC failed, "" if it did not: its HTTP status does
// not tell.
func grpcFailure(x *exchange.Exchange) string {
	if x.Response == nil || !strings.HasPrefix(field(x.Response.Headers, "content-type"), "application/grpc") {
		return ""
	}
	var trailers []bus.Field
	if x.ResponseEnd != nil {
		trailers = x.ResponseEnd.Trailers
	}
	of := func(name string) string { return cmp.Or(field(trailers, name), field(x.Response.Headers, name)) }
	status := of("grpc-status")
	if n, err := strconv.Atoi(status); err == nil && n >= 0 && n < len(grpcCodes) {
		status = grpcCodes[n]
	}
	if status == "" || status == grpcCodes[0] {
		return ""
	}
	why := of("grpc-message") // percent-encoded
	if s, err := url.PathUnescape(why); err == nil {
		why = s
	}
	if why != "" {
		status += ": " + why
	}
	return "gRPC " + status
}

// field is the value of the first field with a name, "" if there is none.
func field(fields []bus.Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}
