package bus

import "net/netip"

// EventType says what an HTTP event is.
type EventType string

// HTTP events. The life of an exchange (Conn, Stream): request, then any
// number of information, data, message, and at most one response, then end of
// each direction, or failed. A connection event comes before the first
// exchange of a connection and again whenever its facts change.
const (
	EventConnection  EventType = "connection"  // Connection: facts so far
	EventRequest     EventType = "request"     // Request: head complete
	EventInformation EventType = "information" // Response: an interim 1xx
	EventResponse    EventType = "response"    // Response: head complete
	EventData        EventType = "data"        // Data: more body; the bytes are on the Body layer
	EventEnd         EventType = "end"         // End: direction Dir of the exchange is complete
	EventFailed      EventType = "failed"      // Failure: the exchange ends here
	EventMessage     EventType = "message"     // Message: WebSocket, SSE or gRPC message
	EventDNS         EventType = "dns"         // DNS: a name was looked up, or that failed; not part of an exchange
	EventVerdict     EventType = "verdict"     // Verdict: the connection can't be read as HTTP
	EventClosed      EventType = "closed"      // Closed: the connection ended
	EventEOS         EventType = "eos"         // this partition is done
)

// Event is one line of the HTTP layer.
type Event struct {
	Type       EventType   `json:"type"`
	Time       int64       `json:"time"` // Unix ns, packet time
	Conn       ConnID      `json:"conn"`
	Stream     uint64      `json:"stream,omitempty"` // HTTP/1: 1, 2, … in order; HTTP/2, HTTP/3: the stream identifier
	Dir        Dir         `json:"dir,omitempty"`    // of data, end, message: 0 request, 1 response
	Connection *Connection `json:"connection,omitempty"`
	Request    *Request    `json:"request,omitempty"`
	Response   *Response   `json:"response,omitempty"`
	Data       *BodyData   `json:"data,omitempty"`
	End        *MessageEnd `json:"end,omitempty"`
	Failure    *Failure    `json:"failure,omitempty"`
	Message    *Message    `json:"message,omitempty"`
	DNS        *DNS        `json:"dns,omitempty"`
	Verdict    *Verdict    `json:"verdict,omitempty"`
	Closed     *ConnEnd    `json:"closed,omitempty"`
}

// Connection is what is known of the connection under an exchange.
type Connection struct {
	Flow
	Partial     bool     `json:"partial,omitempty"`
	Opened      int64    `json:"opened"`                // SYN, Unix ns
	Established int64    `json:"established,omitempty"` // SYN/ACK
	Protocol    string   `json:"protocol,omitempty"`    // "http/1.1", "h2", "h3", …
	TLS         *TLSInfo `json:"tls,omitempty"`
}

// Field is a field line (RFC 9110, section 5), name and value as sent.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NotCaptured stands for the name, or the name and the value, of an HTTP/2 field
// that refers to a part of the connection that was not captured (RFC 7541, section
// 2.3). No field that was sent can have such a name.
const NotCaptured = "(not captured)"

// Request is the head of a request. Event.Time is its first byte.
type Request struct {
	Method      string  `json:"method"`
	URL         string  `json:"url"`              // absolute: scheme and authority as best known
	Target      string  `json:"target"`           // as sent (RFC 9112, section 3.2; :path)
	Proto       string  `json:"proto"`            // "http/1.0", "http/1.1", "h2", "h3"
	Headers     []Field `json:"headers"`          // HTTP/2: pseudo-headers first, as sent
	HeadersSize int     `json:"headersSize"`      // bytes on the wire, after TLS
	Raw         string  `json:"raw,omitempty"`    // HTTP/1: the head as sent
	HeadEnd     int64   `json:"headEnd"`          // last byte of the head, Unix ns
	Pushed      bool    `json:"pushed,omitempty"` // PUSH_PROMISE
}

// Response is the head of a response. Event.Time is its first byte.
type Response struct {
	Status      int     `json:"status"`
	Reason      string  `json:"reason,omitempty"` // HTTP/1
	Proto       string  `json:"proto"`
	Headers     []Field `json:"headers"`
	HeadersSize int     `json:"headersSize"`
	Raw         string  `json:"raw,omitempty"`
	HeadEnd     int64   `json:"headEnd"`
}

// BodyData announces body bytes.
type BodyData struct {
	Offset  uint64 `json:"offset"`  // in the decoded body
	Decoded uint64 `json:"decoded"` // bytes added to the Body layer
	Wire    uint64 `json:"wire"`    // bytes on the wire, after TLS and framing, before content coding
}

// MessageEnd closes one direction of an exchange.
type MessageEnd struct {
	Wire     uint64  `json:"wire"`    // body size before content decoding; of a WebSocket: of its frames
	Decoded  uint64  `json:"decoded"` // size on the Body layer
	Trailers []Field `json:"trailers,omitempty"`
	Problem  string  `json:"problem,omitempty"` // damaged content coding, ambiguous framing, …

	Content *Content `json:"content,omitempty"` // what the body is, where that is known
	*Losses
}

// Losses are what went wrong on the connection while an exchange was open, in both
// directions; other exchanges may have been open, too. They come with the end of
// the response, or with the failure.
type Losses struct {
	Resent uint64 `json:"resent,omitempty"` // segments that were sent again
	Lost   uint64 `json:"lost,omitempty"`   // bytes that were not captured
}

// Content says what a body is, as far as its type and its bytes tell.
type Content struct {
	Kind          string `json:"kind"`                    // "json", "form", "graphql", "multipart"
	Operation     string `json:"operation,omitempty"`     // GraphQL: its name, if it has one
	OperationType string `json:"operationType,omitempty"` // GraphQL: "query", "mutation", "subscription"
	Parts         []Part `json:"parts,omitempty"`         // multipart: the first of them
	PartCount     int    `json:"partCount,omitempty"`     // all of them
}

// Part is a part of a multipart body (RFC 2046, section 5.1; RFC 7578).
type Part struct {
	Name        string `json:"name,omitempty"`
	FileName    string `json:"fileName,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	Offset      uint64 `json:"offset"` // of its content in the decoded body
	Size        uint64 `json:"size"`
}

// Failure ends an exchange before its time.
type Failure struct {
	Reason string `json:"reason"` // one sentence
	Code   string `json:"code"`   // "reset-by-server", "fin-mid-body", "goaway", "tls-alert", "refused", "gap", …
	*Losses
}

// Message is one message inside a body or after an upgrade.
type Message struct {
	Kind    string `json:"kind"`             // "websocket", "sse", "grpc"
	Opcode  int    `json:"opcode,omitempty"` // WebSocket
	Masked  bool   `json:"masked,omitempty"`
	Event   string `json:"event,omitempty"` // SSE
	ID      string `json:"id,omitempty"`
	Type    string `json:"type,omitempty"` // gRPC: the full name of its type, when the schema is given
	Text    string `json:"text,omitempty"`
	Binary  []byte `json:"binary,omitempty"`
	Size    uint64 `json:"size"`          // of the whole payload
	Cut     bool   `json:"cut,omitempty"` // Text or Binary holds only its beginning
	Problem string `json:"problem,omitempty"`
}

// DNS is one question to a name server (RFC 1035, section 4.1.2) and what became
// of it. Event.Time is Answered, or when it was given up.
type DNS struct {
	Name      string         `json:"name"`      // as asked, without the last dot
	Type      string         `json:"type"`      // "A", "AAAA", "HTTPS", …
	Transport string         `json:"transport"` // "udp", "tcp", "tls" (RFC 7858), "https" (RFC 8484)
	Server    netip.AddrPort `json:"server"`
	Asked     int64          `json:"asked"`              // first time, Unix ns; 0: not captured
	Answered  int64          `json:"answered,omitempty"` // 0: never
	Queries   int            `json:"queries"`            // how often it was asked
	Status    string         `json:"status,omitempty"`   // of the answer: "NOERROR", "NXDOMAIN", … (RFC 6895, section 2.3)
	Aliases   []string       `json:"aliases,omitempty"`  // targets of CNAME records, in order
	Addresses []netip.Addr   `json:"addresses,omitempty"`
	TTL       uint32         `json:"ttl,omitempty"` // of the addresses, the lowest, in s
	Failure   *Failure       `json:"failure,omitempty"`
}
