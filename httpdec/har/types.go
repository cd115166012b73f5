// Package har writes and reads HAR 1.2 files (HTTP Archive,
// http://www.softwareishard.com/blog/har-12-spec/). Fields whose names begin
// with _ are Clipper's own.
package har

import "encoding/json"

// File is a HAR file.
type File struct {
	Log Log `json:"log"`
}

// Log is all of a HAR file but, where it is streamed, its entries.
type Log struct {
	Version  string    `json:"version"`
	Creator  Creator   `json:"creator"`
	Entries  []*Entry  `json:"entries"`
	Verdicts []Verdict `json:"_verdicts"`

	VerdictsTotal int `json:"_verdictsTotal,omitempty"` // when not all are listed
}

// Creator names the program that wrote the file.
type Creator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Verdict is a connection that could not be read, or not be made.
type Verdict struct {
	Connection string `json:"connection"` // as _connection of an entry
	Time       string `json:"time"`       // ISO 8601
	Code       string `json:"code"`
	Reason     string `json:"reason"`
	Help       string `json:"help,omitempty"`
	Client     string `json:"client,omitempty"`
	Server     string `json:"server,omitempty"`
	SNI        string `json:"sni,omitempty"`
	Name       string `json:"name,omitempty"` // that was looked up
	PID        int    `json:"pid,omitempty"`
	Command    string `json:"command,omitempty"`
}

// Entry is one exchange.
type Entry struct {
	StartedDateTime string   `json:"startedDateTime"` // ISO 8601
	Time            float64  `json:"time"`            // ms, the sum of the timings that are not -1
	Request         Request  `json:"request"`
	Response        Response `json:"response"`
	Cache           struct{} `json:"cache"`
	Timings         Timings  `json:"timings"`
	ServerIPAddress string   `json:"serverIPAddress,omitempty"`
	Connection      string   `json:"connection,omitempty"` // the client's port

	PID           int         `json:"_pid,omitempty"`
	Command       string      `json:"_command,omitempty"`
	ConnectionID  string      `json:"_connection"`
	Stream        uint64      `json:"_stream"`
	Protocol      string      `json:"_protocol,omitempty"` // "http/1.1", "h2", …
	ServerPort    int         `json:"_serverPort,omitempty"`
	Lookup        *Lookup     `json:"_lookup,omitempty"`
	TLS           *TLS        `json:"_tls,omitempty"`
	Error         string      `json:"_error,omitempty"`
	ErrorCode     string      `json:"_errorCode,omitempty"`
	Retransmits   uint64      `json:"_retransmits,omitempty"` // segments, on the connection while the exchange was open
	LostBytes     uint64      `json:"_lostBytes,omitempty"`   // that were not captured, the same
	Problems      []string    `json:"_problems,omitempty"`    // what was not as it should be
	GraphQL       *GraphQL    `json:"_graphql,omitempty"`
	ResourceType  string      `json:"_resourceType,omitempty"`
	Messages      []Message   `json:"_webSocketMessages,omitempty"` // as Chrome writes them; also SSE and gRPC
	MessagesTotal uint64      `json:"_messagesTotal,omitempty"`     // when not all are listed
	Information   []Interim   `json:"_interim,omitempty"`           // 1xx responses
	Trailers      []NameValue `json:"_trailers,omitempty"`          // of the response
	ReqTrailers   []NameValue `json:"_requestTrailers,omitempty"`
}

// Interim is a 1xx response.
type Interim struct {
	Time    float64     `json:"time"` // ms after startedDateTime
	Status  int         `json:"status"`
	Headers []NameValue `json:"headers"`
}

// Lookup is how the address of the server was found.
type Lookup struct {
	Name      string   `json:"name"`
	Started   string   `json:"started"`          // ISO 8601
	Time      float64  `json:"time"`             // ms
	Reused    bool     `json:"reused,omitempty"` // the connection did not wait for it
	Transport string   `json:"transport"`
	Server    string   `json:"server"`
	Aliases   []string `json:"aliases,omitempty"`
	Addresses []string `json:"addresses"`
}

// TLS are the facts of the connection's TLS.
type TLS struct {
	Version   string `json:"version,omitempty"`
	Cipher    string `json:"cipher,omitempty"`
	Group     string `json:"group,omitempty"`
	ALPN      string `json:"alpn,omitempty"`
	SNI       string `json:"sni,omitempty"`
	Resumed   bool   `json:"resumed,omitempty"`
	EarlyData bool   `json:"earlyData,omitempty"`
	JA3       string `json:"ja3,omitempty"`
	JA4       string `json:"ja4,omitempty"`
	certificate
	Library   string `json:"library,omitempty"`   // of the program, as far as its secrets say
	Mechanism string `json:"mechanism,omitempty"` // by which the secrets were taken
}

// certificate is what TLS tells of the server's certificate.
type certificate struct {
	Subject   string   `json:"subject,omitempty"`
	Issuer    string   `json:"issuer,omitempty"`
	Names     []string `json:"names,omitempty"` // DNS names
	NotBefore string   `json:"notBefore,omitempty"`
	NotAfter  string   `json:"notAfter,omitempty"`
}

// Message is a WebSocket, SSE or gRPC message.
type Message struct {
	Type   string  `json:"type"` // "send" or "receive"
	Time   float64 `json:"time"` // Unix seconds
	Opcode int     `json:"opcode"`
	Data   string  `json:"data"` // base64 when binary
	Kind   string  `json:"_kind,omitempty"`
	Event  string  `json:"_event,omitempty"`
	ID     string  `json:"_id,omitempty"`
	Schema string  `json:"_messageType,omitempty"` // gRPC: the name of its type; data is JSON then
	Size   uint64  `json:"_size"`
}

// Request is the request of an entry.
type Request struct {
	Method      string      `json:"method"`
	URL         string      `json:"url"`
	HTTPVersion string      `json:"httpVersion"`
	Cookies     []Cookie    `json:"cookies"`
	Headers     []NameValue `json:"headers"`
	QueryString []NameValue `json:"queryString"`
	PostData    *PostData   `json:"postData,omitempty"`
	HeadersSize int         `json:"headersSize"`
	BodySize    int64       `json:"bodySize"`
}

// Response is the response of an entry; its status is 0 when there was none.
type Response struct {
	Status      int         `json:"status"`
	StatusText  string      `json:"statusText"`
	HTTPVersion string      `json:"httpVersion"`
	Cookies     []Cookie    `json:"cookies"`
	Headers     []NameValue `json:"headers"`
	Content     Content     `json:"content"`
	RedirectURL string      `json:"redirectURL"`
	HeadersSize int         `json:"headersSize"`
	BodySize    int64       `json:"bodySize"`
}

// NameValue is a header or a query parameter.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Cookie is a cookie sent or set.
type Cookie struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Path     string `json:"path,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Expires  string `json:"expires,omitempty"`
	HTTPOnly bool   `json:"httpOnly,omitempty"`
	Secure   bool   `json:"secure,omitempty"`
	SameSite string `json:"sameSite,omitempty"`
}

// PostData is a request body.
type PostData struct {
	MimeType string          `json:"mimeType"`
	Params   []Param         `json:"params,omitempty"` // of a form
	Text     json.RawMessage `json:"text"`
	Encoding string          `json:"encoding,omitempty"` // "base64"
}

// Param is a field of a form. Large and binary values are only in the text.
type Param struct {
	Name        string `json:"name"`
	Value       string `json:"value,omitempty"`
	FileName    string `json:"fileName,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	Size        uint64 `json:"_size,omitempty"` // of a part, in bytes
}

// GraphQL is what a request asks for.
type GraphQL struct {
	Operation string `json:"operation,omitempty"` // its name
	Type      string `json:"type,omitempty"`      // "query", "mutation", "subscription"
}

// Content is a response body with its content coding undone.
type Content struct {
	Size        int64           `json:"size"`
	Compression int64           `json:"compression,omitempty"` // bytes that the content coding saved
	MimeType    string          `json:"mimeType"`
	Text        json.RawMessage `json:"text,omitempty"`
	Encoding    string          `json:"encoding,omitempty"` // "base64"
}

// Timings are the phases in ms; -1 where one does not apply. Connect includes SSL.
type Timings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
	SSL     float64 `json:"ssl"`
}
