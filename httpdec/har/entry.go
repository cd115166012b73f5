package har

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"clipper/bus"
	"clipper/bus/lookup"
	"clipper/httpdec/exchange"
)

// newEntry makes the entry of an exchange, without the text of its bodies.
func newEntry(x *exchange.Exchange, certs *certificates) *Entry {
	e := &Entry{
		StartedDateTime: isoTime(x.Started()),
		Timings:         timings(x),
		PID:             x.Process.PID,
		Command:         command(x.Process),
		ConnectionID:    x.Conn.String(),
		Stream:          x.Stream,
		Protocol:        x.Connection.Protocol,
		Lookup:          lookedUp(x.Lookup),
		TLS:             tlsFacts(x.Connection.TLS, certs),
		Retransmits:     x.Losses.Resent,
		LostBytes:       x.Losses.Lost,
		MessagesTotal:   x.MessageCount,
	}
	if int(x.MessageCount) == len(x.Messages) {
		e.MessagesTotal = 0
	}
	e.Time = e.Timings.sum()
	if a := x.Connection.Server; a.IsValid() {
		e.ServerIPAddress, e.ServerPort = a.Addr().Unmap().String(), int(a.Port())
	}
	if a := x.Connection.Client; a.IsValid() {
		e.Connection = portString(a.Port())
	}
	e.request(x)
	e.response(x)
	e.ResourceType = resourceType(x, e.Response.Content.MimeType)
	if x.Failure != nil {
		e.Error, e.ErrorCode = x.Failure.Reason, x.Failure.Code
	} else if !x.Finished() {
		e.Error, e.ErrorCode = "the exchange had not ended", "unfinished"
	}
	e.messages(x)
	for _, i := range x.Information {
		e.Information = append(e.Information, Interim{ms(i.Time - x.Started()), i.Response.Status, headers(i.Response.Headers)})
	}
	return e
}

func (e *Entry) request(x *exchange.Exchange) {
	r := &e.Request
	*r = Request{Cookies: []Cookie{}, Headers: []NameValue{}, QueryString: []NameValue{}, HeadersSize: -1, BodySize: -1}
	if end := x.RequestEnd; end != nil {
		e.problem("request: ", end.Problem)
		if c := end.Content; c != nil && c.Kind == "graphql" {
			e.GraphQL = &GraphQL{c.Operation, c.OperationType}
		}
		e.ReqTrailers = headersOrNil(end.Trailers)
	}
	if x.Request == nil {
		return
	}
	e.Protocol = x.Request.Proto
	r.Method, r.URL, r.HTTPVersion = x.Request.Method, x.Request.URL, version(x.Request.Proto)
	r.Headers, r.HeadersSize = headers(x.Request.Headers), x.Request.HeadersSize
	r.BodySize = int64(x.Wire[bus.ClientToServer])
	for _, f := range x.Request.Headers {
		if strings.EqualFold(f.Name, "cookie") {
			r.Cookies = append(r.Cookies, sentCookies(f.Value)...)
		}
	}
	_, query, _ := strings.Cut(r.URL, "?")
	query, _, _ = strings.Cut(query, "#")
	r.QueryString = append(r.QueryString, pairs(query)...)
	if x.Wire[bus.ClientToServer] > 0 {
		r.PostData = &PostData{MimeType: value(x.Request.Headers, "content-type")}
	}
}

func (e *Entry) response(x *exchange.Exchange) {
	r := &e.Response
	*r = Response{Cookies: []Cookie{}, Headers: []NameValue{}, HeadersSize: -1, BodySize: -1, Content: Content{MimeType: "x-unknown"}}
	if end := x.ResponseEnd; end != nil {
		e.problem("response: ", end.Problem)
		e.Trailers = headersOrNil(end.Trailers)
	}
	if x.Response == nil {
		return
	}
	r.Status, r.StatusText, r.HTTPVersion = x.Response.Status, x.Response.Reason, version(x.Response.Proto)
	r.Headers, r.HeadersSize = headers(x.Response.Headers), x.Response.HeadersSize
	r.RedirectURL = value(x.Response.Headers, "location")
	wire, decoded := int64(x.Wire[bus.ServerToClient]), int64(x.Decoded[bus.ServerToClient])
	r.BodySize, r.Content.Size = wire, decoded
	if value(x.Response.Headers, "content-encoding") != "" {
		r.Content.Compression = decoded - wire
	}
	r.Content.MimeType = value(x.Response.Headers, "content-type")
	for _, f := range x.Response.Headers {
		if strings.EqualFold(f.Name, "set-cookie") {
			if c, err := http.ParseSetCookie(f.Value); err == nil {
				r.Cookies = append(r.Cookies, setCookie(c))
			}
		}
	}
}

func (e *Entry) problem(prefix, p string) {
	if p != "" {
		e.Problems = append(e.Problems, prefix+p)
	}
}

func (e *Entry) messages(x *exchange.Exchange) {
	for _, m := range x.Messages {
		h := Message{Type: "send", Time: float64(m.Time) / 1e9, Opcode: m.Opcode, Data: m.Text, Kind: m.Kind, Event: m.Event, ID: m.ID, Schema: m.Type, Size: m.Size}
		if m.Dir == bus.ServerToClient {
			h.Type = "receive"
		}
		if len(m.Binary) > 0 && m.Type == "" {
			h.Data = base64.StdEncoding.EncodeToString(m.Binary)
		}
		e.Messages = append(e.Messages, h)
	}
}

func resourceType(x *exchange.Exchange, mime string) string {
	for _, m := range x.Messages {
		if m.Kind == "websocket" {
			return "websocket"
		}
	}
	if strings.HasPrefix(strings.ToLower(mime), "text/event-stream") {
		return "eventsource"
	}
	return ""
}

func headers(fields []bus.Field) []NameValue {
	list := make([]NameValue, len(fields))
	for i, f := range fields {
		list[i] = NameValue(f)
	}
	return list
}

func headersOrNil(fields []bus.Field) []NameValue {
	if len(fields) == 0 {
		return nil
	}
	return headers(fields)
}

func value(fields []bus.Field, lower string) string {
	for _, f := range fields {
		if len(f.Name) == len(lower) && strings.EqualFold(f.Name, lower) {
			return f.Value
		}
	}
	return ""
}

func version(proto string) string {
	switch proto {
	case "h2":
		return "HTTP/2"
	case "h3":
		return "HTTP/3"
	}
	return strings.ToUpper(proto)
}

func sentCookies(v string) (list []Cookie) {
	for part := range strings.SplitSeq(v, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name != "" || value != "" {
			list = append(list, Cookie{Name: name, Value: value})
		}
	}
	return list
}

func setCookie(c *http.Cookie) Cookie {
	h := Cookie{Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain, HTTPOnly: c.HttpOnly, Secure: c.Secure}
	if !c.Expires.IsZero() {
		h.Expires = c.Expires.UTC().Format(isoLayout)
	}
	switch c.SameSite {
	case http.SameSiteLaxMode:
		h.SameSite = "Lax"
	case http.SameSiteStrictMode:
		h.SameSite = "Strict"
	case http.SameSiteNoneMode:
		h.SameSite = "None"
	}
	return h
}

// pairs splits a query or a form (application/x-www-form-urlencoded), in order.
func pairs(s string) (list []NameValue) {
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		list = append(list, NameValue{unescape(name), unescape(value)})
	}
	return list
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func timings(x *exchange.Exchange) Timings {
	t := x.Timings()
	h := Timings{Blocked: ms(t.Blocked), DNS: ms(t.DNS), Connect: ms(t.Connect), SSL: ms(t.TLS), Send: ms(t.Send), Wait: ms(t.Wait), Receive: ms(t.Receive)}
	if t.TLS >= 0 {
		h.Connect = ms(max(t.Connect, 0) + t.TLS)
	}
	return h
}

func (t *Timings) sum() (total float64) {
	for _, v := range []float64{t.Blocked, t.DNS, t.Connect, t.Send, t.Wait, t.Receive} {
		total += max(v, 0)
	}
	return total
}

func ms(ns int64) float64 {
	if ns == -1 {
		return -1
	}
	return float64(ns) / 1e6
}

const isoLayout = "2006-01-02T15:04:05.000000Z07:00"

func isoTime(ns int64) string { return time.Unix(0, ns).UTC().Format(isoLayout) }

func portString(p uint16) string {
	var b [5]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + p%10)
		if p /= 10; p == 0 {
			return string(b[i:])
		}
	}
}

// command is the command line, quoted as a shell would need it.
func command(p exchange.Process) string {
	if len(p.Argv) == 0 {
		return p.Exe
	}
	quoted := make([]string, len(p.Argv))
	for i, a := range p.Argv {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// special reports whether r may mean something to a shell.
func special(r rune) bool {
	alphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !alphanumeric && !strings.ContainsRune("_-+=.,:/@%", r)
}

func tlsFacts(t *bus.TLSInfo, certs *certificates) *TLS {
	if t == nil {
		return nil
	}
	h := &TLS{Version: t.Version, Cipher: t.Cipher, Group: t.Group, ALPN: t.ALPN, SNI: t.SNI, Resumed: t.Resumed,
		EarlyData: t.EarlyData, JA3: t.JA3, JA4: t.JA4, Library: t.Library, Mechanism: t.Mechanism}
	if len(t.Certificates) > 0 {
		h.certificate = certs.parse(t.Certificates[0])
	}
	return h
}

func lookedUp(l *lookup.Lookup) *Lookup {
	if l == nil {
		return nil
	}
	q := l.Queries[0]
	h := &Lookup{Name: l.Name, Started: isoTime(l.Asked), Time: ms(l.Answered - l.Asked), Reused: !l.Own,
		Transport: q.Transport, Server: q.Server.String()}
	for _, q := range l.Queries {
		if len(h.Aliases) == 0 {
			h.Aliases = q.Aliases
		}
		for _, a := range q.Addresses {
			h.Addresses = append(h.Addresses, a.String())
		}
	}
	return h
}

// NewVerdict makes the entry of log._verdicts.
func NewVerdict(v *exchange.Verdict) Verdict {
	h := Verdict{Connection: v.Conn.String(), Time: isoTime(v.Time), Code: string(v.Verdict.Code), Reason: v.Verdict.Reason,
		Help: v.Verdict.Help, Name: v.Verdict.Name, PID: v.Process.PID, Command: command(v.Process)}
	if v.Connection.Client.IsValid() {
		h.Client = v.Connection.Client.String()
	}
	if v.Connection.Server.IsValid() {
		h.Server = v.Connection.Server.String()
	}
	if v.Connection.TLS != nil {
		h.SNI = v.Connection.TLS.SNI
	}
	return h
}
