package translate

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// loaderID is that of every row. It must not be empty nor a request id: then
// the frontend takes the request for the load of a page.
const loaderID = "clipper"

// exchange is one request and its response.
type exchange struct {
	c      *conn
	stream uint64
	id     string // request id; that of the first hop in a chain of redirects
	row    uint64
	kind   string // resource type

	request *bus.Request
	sent    cdp.Headers
	begun   int64 // when the client began: the look-up or the SYN for the first exchange of a connection, else the first byte
	start   int64 // first byte of the request
	sendEnd int64 // last byte of the request so far
	connect bool  // the connection was opened for it

	response  *cdp.Response
	extra     *cdp.ResponseReceivedExtraInfo // waits for the trailers
	wire      uint64                         // bytes of the response: head and body
	finished  bool
	noted     bool // no exchange, but what explains why there is none: may be told anew
	sentAll   bool // request complete
	websocket *handshake
	messages  int // gRPC messages so far

	redirect *redirect
	deadline time.Time // when a redirect stops waiting for its follower
}

func requestID(c bus.ConnID, stream uint64) string {
	return c.String() + "." + strconv.FormatUint(stream, 10)
}

func parseRequestID(id string) (Message, bool) {
	c, s, ok := strings.Cut(id, ".")
	if !ok || len(c) != 16 {
		return Message{}, false
	}
	conn, err1 := strconv.ParseUint(c, 16, 64)
	stream, err2 := strconv.ParseUint(s, 10, 64)
	return Message{bus.ConnID(conn), stream}, err1 == nil && err2 == nil
}

func (c *conn) sorted() []*exchange {
	out := make([]*exchange, 0, len(c.exchanges))
	for _, x := range c.exchanges {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *exchange) int { return int(int64(a.row) - int64(b.row)) })
	return out
}

// request begins an exchange.
func (c *conn) request(e *bus.Event) {
	r := e.Request
	x := &exchange{c: c, stream: e.Stream, request: r, sent: headers(r.Headers), begun: e.Time, start: e.Time, sendEnd: max(e.Time, r.HeadEnd)}
	if !c.used && !r.Pushed && !c.facts.Partial {
		ready := c.facts.Established
		if c.facts.TLS != nil {
			ready = max(ready, c.facts.TLS.Finished)
		}
		if c.facts.Opened > 0 && c.facts.Opened <= e.Time && time.Duration(e.Time-ready) < warmConnect {
			x.begun, x.connect = c.facts.Opened, true
			if c.lookup != nil && c.lookup.Own {
				x.begun = min(x.begun, c.lookup.Asked)
			}
		}
	}
	c.used = true
	c.host = urlHost(r.URL)
	c.exchanges[e.Stream] = x
	x.kind = requestKind(r)
	if isWebSocket(r) {
		x.id, x.row = requestID(c.id, e.Stream), c.t.row()
		x.openWebSocket()
		return
	}
	from := c.t.follow(x)
	if from == nil {
		x.id, x.row = requestID(c.id, e.Stream), c.t.row()
		x.sendRequest(r, nil)
		return
	}
	x.id, x.row = from.id, from.row
	c.t.chained.put(x.id, Message{c.id, e.Stream})
	x.sendRequest(r, from.response)
}

// unseenRequest makes an exchange for a response whose request was not captured.
func (c *conn) unseenRequest(e *bus.Event) *exchange {
	scheme := "http"
	if c.facts.TLS != nil {
		scheme = "https"
	}
	c.request(&bus.Event{Type: bus.EventRequest, Time: e.Time, Conn: e.Conn, Stream: e.Stream,
		Request: &bus.Request{Method: "(not captured)", URL: scheme + "://" + c.authority(true) + "/", Proto: e.Response.Proto, HeadEnd: e.Time}})
	return c.exchanges[e.Stream]
}

// sendRequest emits the request, as the next hop of a redirect if there is one.
func (x *exchange) sendRequest(r *bus.Request, redirect *cdp.Response) {
	address, fragment, _ := strings.Cut(r.URL, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	p := x.c.process
	document := "process://0/unknown"
	if p != nil {
		document = p.URL()
	}
	sent := headers(r.Headers)
	begun := seconds(x.begun - requestLead)
	x.event("Network.requestWillBeSent", cdp.RequestWillBeSent{
		RequestID: x.id, LoaderID: loaderID, DocumentURL: document,
		Request: cdp.Request{
			URL: cdp.Text(address), URLFragment: cdp.Text(fragment), Method: cdp.Text(r.Method), Headers: sent, HasPostData: hasBody(r),
			MixedContentType: "none", InitialPriority: "Medium", ReferrerPolicy: "no-referrer-when-downgrade", IsSameSite: true,
		},
		Timestamp: begun, WallTime: begun, Initiator: p.initiator(), Type: x.kind,
		RedirectResponse: redirect, RedirectHasExtraInfo: redirect != nil,
	})
	x.event("Network.requestWillBeSentExtraInfo", cdp.RequestWillBeSentExtraInfo{
		RequestID: x.id, AssociatedCookies: requestCookies(r), Headers: sent,
		ConnectTiming: cdp.ConnectTiming{RequestTime: seconds(x.begun - timingLead)},
	})
}

func (x *exchange) event(method string, params any) {
	e := Event{Method: method, Params: params, Exchange: x.row}
	if x.c.process != nil {
		e.PID = x.c.process.PID
	}
	x.c.t.emit(e)
}

// handle takes an event of the exchange after its request.
func (x *exchange) handle(e *bus.Event) {
	switch {
	case e.Type == bus.EventInformation && e.Response != nil:
		x.information(e)
	case e.Type == bus.EventResponse && e.Response != nil:
		x.receive(e)
	case e.Type == bus.EventData && e.Data != nil:
		x.data(e)
	case e.Type == bus.EventMessage && e.Message != nil:
		x.message(e)
	case e.Type == bus.EventEnd && e.Dir == bus.ClientToServer:
		x.sendEnd, x.sentAll = max(x.sendEnd, e.Time), true
		x.forget()
	case e.Type == bus.EventEnd:
		x.end(e)
	case e.Type == bus.EventFailed && e.Failure != nil:
		text, canceled := failureText(e.Failure)
		x.fail(e.Time, text, canceled)
		delete(x.c.exchanges, x.stream)
	}
}

func (x *exchange) information(e *bus.Event) {
	switch {
	case e.Response.Status == 101 && x.websocket != nil:
		x.websocket.response(e)
	case e.Response.Status == 103:
		x.event("Network.responseReceivedEarlyHints", cdp.ResponseReceivedEarlyHints{RequestID: x.id, Headers: responseHeaders(e.Response.Headers)})
	}
}

// receive emits the head of the response.
func (x *exchange) receive(e *bus.Event) {
	if x.finished || x.response != nil {
		return
	}
	r := e.Response
	x.wire = uint64(max(r.HeadersSize, 0))
	if x.websocket != nil {
		x.websocket.response(e)
		if r.Status == 101 || r.Status/100 == 2 {
			return
		}
	}
	x.response = x.makeResponse(e)
	if x.websocket != nil {
		return
	}
	x.kind = responseKind(x.kind, x.response.MimeType)
	x.extra = &cdp.ResponseReceivedExtraInfo{
		RequestID: x.id, BlockedCookies: []any{}, Headers: responseHeaders(r.Headers), StatusCode: r.Status,
		ResourceIPAddressSpace: addrSpace(x.c.facts.Server.Addr()), HeadersText: cdp.Text(r.Raw),
	}
	if !wantsTrailers(x.response.Headers) {
		x.sendExtra(nil)
	}
	if target := redirectTarget(x.request, r); target != "" {
		x.redirect = &redirect{target: target, at: max(e.Time, r.HeadEnd)}
		return
	}
	x.sendResponse()
}

// sendExtra emits the headers as they were on the wire; trailers join them,
// since the protocol has no place of their own.
func (x *exchange) sendExtra(trailers []bus.Field) {
	if x.extra == nil {
		return
	}
	x.extra.Headers = append(x.extra.Headers, trailers...)
	x.event("Network.responseReceivedExtraInfo", *x.extra)
	x.extra = nil
}

func (x *exchange) sendResponse() {
	at := math.Round(x.response.ResponseTime*1e3) / 1e6
	x.event("Network.responseReceived", cdp.ResponseReceived{
		RequestID: x.id, LoaderID: loaderID, Timestamp: at, Type: x.kind, Response: *x.response, HasExtraInfo: true,
	})
}

func (x *exchange) makeResponse(e *bus.Event) *cdp.Response {
	r, c := e.Response, x.c
	mime, charset := mediaType(headers(r.Headers).Get("content-type"))
	timing := x.timing(e)
	out := &cdp.Response{
		URL: urlWithoutFragment(x.request.URL), Status: r.Status, StatusText: cdp.Text(r.Reason), Headers: responseHeaders(r.Headers),
		MimeType: mime, Charset: charset, ConnectionReused: !x.connect, ConnectionID: c.number,
		EncodedDataLength: float64(x.wire), Timing: &timing, ResponseTime: seconds(max(e.Time, r.HeadEnd)) * 1e3,
		Protocol: protocolName(r.Proto, x.request.Proto), AlternateProtocolUsage: "unspecifiedReason",
		SecurityState: "insecure", SecurityDetails: c.security,
	}
	out.RemoteIPAddress, out.RemotePort = remote(c.facts.Server)
	if c.facts.TLS != nil {
		out.SecurityState = "secure"
	}
	return out
}

func remote(a netip.AddrPort) (string, int) {
	if !a.IsValid() {
		return "", 0
	}
	return a.Addr().Unmap().String(), int(a.Port())
}

func (x *exchange) data(e *bus.Event) {
	if e.Dir == bus.ClientToServer {
		x.sendEnd = max(x.sendEnd, e.Time)
		return
	}
	if x.finished || x.response == nil {
		return
	}
	x.wire += e.Data.Wire
	if x.redirect != nil {
		x.redirect.decoded += e.Data.Decoded
		x.redirect.wire += e.Data.Wire
		return
	}
	x.event("Network.dataReceived", cdp.DataReceived{
		RequestID: x.id, Timestamp: seconds(e.Time), DataLength: int64(e.Data.Decoded), EncodedDataLength: int64(e.Data.Wire),
	})
}

// end completes the response.
func (x *exchange) end(e *bus.Event) {
	if x.finished {
		return
	}
	switch {
	case x.websocket != nil:
		x.websocket.close(e.Time, "")
	case x.response == nil:
		x.fail(e.Time, "net::ERR_EMPTY_RESPONSE", false)
	case x.redirect != nil:
		x.redirect.at = max(x.redirect.at, e.Time)
		x.finished = true
		x.c.t.awaitFollower(x)
	default:
		var trailers []bus.Field
		if e.End != nil {
			trailers = e.End.Trailers
		}
		x.sendExtra(trailers)
		x.finish(e.Time)
	}
	x.forget()
}

func (x *exchange) finish(at int64) {
	x.finished = true
	x.event("Network.loadingFinished", cdp.LoadingFinished{RequestID: x.id, Timestamp: seconds(at), EncodedDataLength: float64(x.wire)})
}

func (x *exchange) fail(at int64, text string, canceled bool) {
	if x.websocket != nil {
		x.websocket.close(at, text)
		x.finished = true
		return
	}
	if x.finished && !x.noted {
		return
	}
	if x.redirect != nil {
		x.redirect.send(x)
	}
	x.sendExtra(nil)
	x.finished = true
	failed := cdp.LoadingFailed{RequestID: x.id, Timestamp: seconds(at), Type: x.kind, ErrorText: text, Canceled: canceled}
	x.c.t.fail(x, failed)
}

// fail emits the end of an exchange. Why it failed may be told later.
func (t *Translator) fail(x *exchange, e cdp.LoadingFailed) {
	facts := &x.c.facts
	if t.sockets.isBlocked(facts) {
		e.ErrorText, e.BlockedReason = "net::ERR_BLOCKED_BY_CLIENT (the host is blocked in DevTools)", "inspector"
	} else if facts.Client.IsValid() {
		t.failed.put(socketKey{facts.Transport, unmap(facts.Client), unmap(facts.Server)}, failure{x, e})
	}
	x.event("Network.loadingFailed", e)
}

// failure is a failed exchange and what was said of it.
type failure struct {
	x *exchange
	e cdp.LoadingFailed
}

// abandon ends x because its connection ended.
func (x *exchange) abandon(e *bus.Event) {
	if x.finished {
		return
	}
	text := "net::ERR_CONNECTION_CLOSED"
	if e.Closed != nil {
		if t := closedText(e.Closed.Reason); t != "" {
			text = t
		}
	}
	if x.websocket != nil && e.Closed != nil && e.Closed.Reason == bus.EndFIN {
		text = ""
	}
	x.fail(e.Time, text, false)
}

// forget drops x once both directions are complete.
func (x *exchange) forget() {
	if x.finished && x.sentAll {
		delete(x.c.exchanges, x.stream)
	}
}
