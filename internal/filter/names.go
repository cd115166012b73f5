package filter

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

// Name is a fact that an expression may use.
type Name struct {
	Name    string
	Type    string // for people
	Doc     string
	celType *types.Type
	get     func(Row) any
}

// Row is what an expression is about: an exchange, or a connection that has none.
type Row struct {
	Exchange *exchange.Exchange // never nil
	Verdict  bus.VerdictCode    // "" for an exchange
	Bodies   [2]string          // of the request and the response, for expressions that use Body: up to MaxBody bytes of each
	Name     string             // that was looked up in vain
}

// Body is the name of a message's body. Only for expressions that use it, a Row
// needs Bodies.
const Body = "body"

// MaxBody is how much of a body an expression sees, in bytes.
const MaxBody = 64 << 10

// OfExchange is the row of an exchange.
func OfExchange(x *exchange.Exchange) Row { return Row{Exchange: x} }

// OfVerdict is the row of a connection that cannot be read.
func OfVerdict(v *exchange.Verdict) Row {
	return Row{Exchange: &exchange.Exchange{Conn: v.Conn, RequestTime: v.Time, Connection: v.Connection, Process: v.Process,
		Failure: &bus.Failure{Reason: v.Verdict.Reason, Code: string(v.Verdict.Code)}, Failed: v.Time}, Verdict: v.Verdict.Code, Name: v.Verdict.Name}
}

// OfConnection is the row of a connection, whatever is on it.
func OfConnection(id bus.ConnID, c bus.Connection, p exchange.Process) Row {
	return Row{Exchange: &exchange.Exchange{Conn: id, RequestTime: c.Opened, Connection: c, Process: p}}
}

// The types of rows and messages, as CEL and its messages call them.
const (
	rowTypeName      = "exchange"
	requestTypeName  = "request_message"
	responseTypeName = "response_message"
)

var (
	rowType      = types.NewObjectType(rowTypeName)
	messageTypes = [2]*types.Type{types.NewObjectType(requestTypeName), types.NewObjectType(responseTypeName)}
)

// message is the request or the response of a row.
type message struct {
	Row
	dir bus.Dir
}

var rowNames = []Name{
	{"method", "string", `"GET"; empty for a connection without a request`, cel.StringType, func(r Row) any {
		if q := r.Exchange.Request; q != nil {
			return q.Method
		}
		return ""
	}},
	{"url", "string", "the whole URL", cel.StringType, func(r Row) any { return r.rawURL() }},
	{"scheme", "string", `"https"`, cel.StringType, func(r Row) any { return r.url().Scheme }},
	{"host", "string", "of the URL, without port; else the name that was looked up or is in the TLS handshake, else the server's address", cel.StringType, func(r Row) any { return r.Host() }},
	{"port", "int", "the server's port", cel.IntType, func(r Row) any { return int64(r.Exchange.Connection.Server.Port()) }},
	{"path", "string", "of the URL, without query", cel.StringType, func(r Row) any { return r.url().Path }},
	{"query", "map", `parameters of the URL: query["page"] == "2"; one that is not there is ""`, stringMap, func(r Row) any { return r.query() }},
	{"status", "int", "of the response; 0 without one", cel.IntType, func(r Row) any {
		if p := r.Exchange.Response; p != nil {
			return int64(p.Status)
		}
		return int64(0)
	}},
	{"size", "int", "bytes of the response body on the wire", cel.IntType, func(r Row) any { return int64(r.Exchange.Wire[bus.ServerToClient]) }},
	{"duration", "duration", `from the connection or the request to the end: duration > duration("1.5s")`, cel.DurationType, func(r Row) any { return r.duration() }},
	{"ms", "double", "the same in milliseconds: ms > 1500", cel.DoubleType, func(r Row) any { return float64(r.duration()) / 1e6 }},
	{"time", "timestamp", `when it began: time > timestamp("2026-01-02T15:04:05Z")`, cel.TimestampType, func(r Row) any { return time.Unix(0, r.Exchange.Started()).UTC() }},
	{"mime", "string", `media type of the response, lower case, without parameters: "application/json"`, cel.StringType, func(r Row) any { return r.mime() }},
	{"protocol", "string", `"http/1.1", "h2", "h3"; what else the connection speaks, where that is known`, cel.StringType, func(r Row) any { return r.protocol() }},
	{"tls", "string", `"TLS 1.3"; empty without TLS`, cel.StringType, func(r Row) any {
		if t := r.Exchange.Connection.TLS; t != nil {
			return t.Version
		}
		return ""
	}},
	{"failed", "bool", "the exchange broke off: reset, timeout, damage, refused", cel.BoolType, func(r Row) any { return r.Exchange.Failure != nil }},
	{"error", "string", "why it failed", cel.StringType, func(r Row) any {
		if f := r.Exchange.Failure; f != nil {
			return f.Reason
		}
		return ""
	}},
	{"verdict", "string", `why a connection could not be read: "no-secret"; empty for an exchange`, cel.StringType, func(r Row) any { return string(r.Verdict) }},
	{"process", "string", `name of the program: "curl"`, cel.StringType, func(r Row) any { return ProgramName(r.Exchange.Process) }},
	{"pid", "int", "its process id", cel.IntType, func(r Row) any { return int64(r.Exchange.Process.PID) }},
	{"command", "string", "its command line, separated by spaces", cel.StringType, func(r Row) any { return strings.Join(r.Exchange.Process.Argv, " ") }},
	{"client", "string", `the client's address: "10.0.2.100:40000"`, cel.StringType, func(r Row) any { return address(r.Exchange.Connection.Client) }},
	{"server", "string", "the server's address", cel.StringType, func(r Row) any { return address(r.Exchange.Connection.Server) }},
	{"connection", "string", "the connection's id, 16 hexadecimal digits", cel.StringType, func(r Row) any { return r.Exchange.Conn.String() }},
	{"request", "message", `request.headers["accept"], request.size, request.body (its first 64 KiB, decoded, as text)`, messageTypes[0], func(r Row) any { return message{r, bus.ClientToServer} }},
	{"response", "message", `response.headers["content-type"], response.size, response.body: response.body.contains("error")`, messageTypes[1], func(r Row) any { return message{r, bus.ServerToClient} }},
}

var stringMap = cel.MapType(cel.StringType, cel.StringType)

// messageNames are the fields of the request (0) and the response (1).
var messageNames = [2][]Name{messageFields(bus.ClientToServer), messageFields(bus.ServerToClient)}

func messageFields(dir bus.Dir) []Name {
	return []Name{
		{"headers", "map", `by name in any case; more than one of a name are joined with ", "; one that is not there is ""`, stringMap, func(r Row) any { return r.headers(dir) }},
		{"size", "int", "bytes of the body on the wire", cel.IntType, func(r Row) any { return int64(r.Exchange.Wire[dir]) }},
		{Body, "string", "its first 64 KiB, decoded, as text", cel.StringType, func(r Row) any { return r.Bodies[dir] }},
	}
}

// Names lists what an expression may use.
func Names() []Name { return rowNames }

func fieldsOf(typeName string) []Name {
	switch typeName {
	case rowTypeName:
		return rowNames
	case requestTypeName:
		return messageNames[0]
	case responseTypeName:
		return messageNames[1]
	}
	return nil
}

// rowIndex finds the names that a row resolves.
var rowIndex = func() map[string]func(Row) any {
	m := map[string]func(Row) any{}
	for _, n := range rowNames {
		m[n.Name] = n.get
	}
	return m
}()

// ResolveName implements cel.Activation.
func (r Row) ResolveName(name string) (any, bool) {
	if get := rowIndex[name]; get != nil {
		return get(r), true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (r Row) Parent() cel.Activation { return nil }

func (r Row) rawURL() string {
	if q := r.Exchange.Request; q != nil {
		return q.URL
	}
	return ""
}

// url is never nil; a URL that makes no sense is empty.
func (r Row) url() *url.URL {
	if u, err := url.Parse(r.rawURL()); err == nil {
		return u
	}
	return &url.URL{}
}

// Host is the name "host": that of the URL, else of the TLS handshake, else the
// server's address.
func (r Row) Host() string {
	if h := r.url().Hostname(); h != "" {
		return strings.ToLower(h)
	}
	if r.Name != "" {
		return strings.ToLower(r.Name)
	}
	c := &r.Exchange.Connection
	if c.TLS != nil && c.TLS.SNI != "" {
		return strings.ToLower(c.TLS.SNI)
	}
	if c.Server.IsValid() {
		return c.Server.Addr().Unmap().String()
	}
	return ""
}

func (r Row) query() headers {
	var list headers
	for name, values := range r.url().Query() {
		list = append(list, bus.Field{Name: name, Value: strings.Join(values, ", ")})
	}
	return list
}

func (r Row) duration() time.Duration {
	return time.Duration(max(0, r.Exchange.Ended()-r.Exchange.Started()))
}

func (r Row) mime() string {
	for _, f := range r.headers(bus.ServerToClient) {
		if strings.EqualFold(f.Name, "content-type") {
			m, _, _ := strings.Cut(f.Value, ";")
			return strings.ToLower(strings.TrimSpace(m))
		}
	}
	return ""
}

func (r Row) protocol() string {
	if q := r.Exchange.Request; q != nil {
		return q.Proto
	}
	return r.Exchange.Connection.Protocol
}

func (r Row) headers(dir bus.Dir) headers {
	if dir == bus.ClientToServer {
		if q := r.Exchange.Request; q != nil {
			return q.Headers
		}
		return nil
	}
	if p := r.Exchange.Response; p != nil {
		return p.Headers
	}
	return nil
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// ProgramName is the name that the process was called by, without its directory.
func ProgramName(p exchange.Process) string {
	name := p.Exe
	if len(p.Argv) > 0 && p.Argv[0] != "" {
		name = p.Argv[0]
	}
	if name == "" {
		return ""
	}
	return filepath.Base(strings.TrimPrefix(name, "-"))
}
