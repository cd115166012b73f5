package cdp

// Times: Timestamp and WallTime are Unix seconds, ResponseTime is Unix
// milliseconds, the parts of Timing are milliseconds after its RequestTime and
// -1 where they did not take place.

// RequestWillBeSent is Network.requestWillBeSent.
type RequestWillBeSent struct {
	RequestID            string    `json:"requestId"`
	LoaderID             string    `json:"loaderId"`
	DocumentURL          string    `json:"documentURL"`
	Request              Request   `json:"request"`
	Timestamp            float64   `json:"timestamp"`
	WallTime             float64   `json:"wallTime"`
	Initiator            Initiator `json:"initiator"`
	RedirectHasExtraInfo bool      `json:"redirectHasExtraInfo"`
	RedirectResponse     *Response `json:"redirectResponse,omitempty"`
	Type                 string    `json:"type"`
	FrameID              string    `json:"frameId,omitempty"`
	HasUserGesture       bool      `json:"hasUserGesture"`
}

// Request is Network.Request.
type Request struct {
	URL              string  `json:"url"`
	URLFragment      string  `json:"urlFragment,omitempty"`
	Method           string  `json:"method"`
	Headers          Headers `json:"headers"`
	HasPostData      bool    `json:"hasPostData,omitempty"`
	MixedContentType string  `json:"mixedContentType"`
	InitialPriority  string  `json:"initialPriority"`
	ReferrerPolicy   string  `json:"referrerPolicy"`
	IsSameSite       bool    `json:"isSameSite"`
}

// RequestWillBeSentExtraInfo is Network.requestWillBeSentExtraInfo.
type RequestWillBeSentExtraInfo struct {
	RequestID                     string             `json:"requestId"`
	AssociatedCookies             []AssociatedCookie `json:"associatedCookies"`
	Headers                       Headers            `json:"headers"`
	ConnectTiming                 ConnectTiming      `json:"connectTiming"`
	SiteHasCookieInOtherPartition bool               `json:"siteHasCookieInOtherPartition"`
}

// ConnectTiming is Network.ConnectTiming.
type ConnectTiming struct {
	RequestTime float64 `json:"requestTime"`
}

// AssociatedCookie is Network.AssociatedCookie.
type AssociatedCookie struct {
	Cookie         Cookie   `json:"cookie"`
	BlockedReasons []string `json:"blockedReasons"`
}

// Cookie is Network.Cookie.
type Cookie struct {
	Name         string  `json:"name"`
	Value        string  `json:"value"`
	Domain       string  `json:"domain"`
	Path         string  `json:"path"`
	Expires      float64 `json:"expires"`
	Size         int     `json:"size"`
	HTTPOnly     bool    `json:"httpOnly"`
	Secure       bool    `json:"secure"`
	Session      bool    `json:"session"`
	Priority     string  `json:"priority"`
	SourceScheme string  `json:"sourceScheme"`
	SourcePort   int     `json:"sourcePort"`
}

// Response is Network.Response.
type Response struct {
	URL                    string           `json:"url"`
	Status                 int              `json:"status"`
	StatusText             string           `json:"statusText"`
	Headers                Headers          `json:"headers"`
	MimeType               string           `json:"mimeType"`
	Charset                string           `json:"charset"`
	ConnectionReused       bool             `json:"connectionReused"`
	ConnectionID           int64            `json:"connectionId"`
	RemoteIPAddress        string           `json:"remoteIPAddress,omitempty"`
	RemotePort             int              `json:"remotePort,omitempty"`
	FromDiskCache          bool             `json:"fromDiskCache"`
	FromServiceWorker      bool             `json:"fromServiceWorker"`
	FromPrefetchCache      bool             `json:"fromPrefetchCache"`
	EncodedDataLength      float64          `json:"encodedDataLength"`
	Timing                 *Timing          `json:"timing,omitempty"`
	ResponseTime           float64          `json:"responseTime,omitempty"`
	Protocol               string           `json:"protocol"`
	AlternateProtocolUsage string           `json:"alternateProtocolUsage,omitempty"`
	SecurityState          string           `json:"securityState"`
	SecurityDetails        *SecurityDetails `json:"securityDetails,omitempty"`
}

// Timing is Network.ResourceTiming.
type Timing struct {
	RequestTime              float64 `json:"requestTime"`
	ProxyStart               float64 `json:"proxyStart"`
	ProxyEnd                 float64 `json:"proxyEnd"`
	DNSStart                 float64 `json:"dnsStart"`
	DNSEnd                   float64 `json:"dnsEnd"`
	ConnectStart             float64 `json:"connectStart"`
	ConnectEnd               float64 `json:"connectEnd"`
	SSLStart                 float64 `json:"sslStart"`
	SSLEnd                   float64 `json:"sslEnd"`
	WorkerStart              float64 `json:"workerStart"`
	WorkerReady              float64 `json:"workerReady"`
	WorkerFetchStart         float64 `json:"workerFetchStart"`
	WorkerRespondWithSettled float64 `json:"workerRespondWithSettled"`
	SendStart                float64 `json:"sendStart"`
	SendEnd                  float64 `json:"sendEnd"`
	PushStart                float64 `json:"pushStart"`
	PushEnd                  float64 `json:"pushEnd"`
	ReceiveHeadersStart      float64 `json:"receiveHeadersStart"`
	ReceiveHeadersEnd        float64 `json:"receiveHeadersEnd"`
}

// NoTiming has no part.
func NoTiming(requestTime float64) Timing {
	return Timing{
		RequestTime: requestTime, ProxyStart: -1, ProxyEnd: -1, DNSStart: -1, DNSEnd: -1,
		ConnectStart: -1, ConnectEnd: -1, SSLStart: -1, SSLEnd: -1,
		WorkerStart: -1, WorkerReady: -1, WorkerFetchStart: -1, WorkerRespondWithSettled: -1,
	}
}

// SecurityDetails is Network.SecurityDetails.
type SecurityDetails struct {
	Protocol                          string   `json:"protocol"`
	KeyExchange                       string   `json:"keyExchange"`
	KeyExchangeGroup                  string   `json:"keyExchangeGroup,omitempty"`
	Cipher                            string   `json:"cipher"`
	MAC                               string   `json:"mac,omitempty"`
	CertificateID                     int      `json:"certificateId"`
	SubjectName                       string   `json:"subjectName"`
	SANList                           []string `json:"sanList"`
	Issuer                            string   `json:"issuer"`
	ValidFrom                         float64  `json:"validFrom"`
	ValidTo                           float64  `json:"validTo"`
	SignedCertificateTimestampList    []any    `json:"signedCertificateTimestampList"`
	CertificateTransparencyCompliance string   `json:"certificateTransparencyCompliance"`
	EncryptedClientHello              bool     `json:"encryptedClientHello"`
}

// ResponseReceivedExtraInfo is Network.responseReceivedExtraInfo.
type ResponseReceivedExtraInfo struct {
	RequestID              string  `json:"requestId"`
	BlockedCookies         []any   `json:"blockedCookies"`
	Headers                Headers `json:"headers"`
	ResourceIPAddressSpace string  `json:"resourceIPAddressSpace"`
	StatusCode             int     `json:"statusCode"`
	HeadersText            string  `json:"headersText,omitempty"`
}

// ResponseReceived is Network.responseReceived.
type ResponseReceived struct {
	RequestID    string   `json:"requestId"`
	LoaderID     string   `json:"loaderId"`
	Timestamp    float64  `json:"timestamp"`
	Type         string   `json:"type"`
	Response     Response `json:"response"`
	HasExtraInfo bool     `json:"hasExtraInfo"`
	FrameID      string   `json:"frameId,omitempty"`
}

// ResponseReceivedEarlyHints is Network.responseReceivedEarlyHints.
type ResponseReceivedEarlyHints struct {
	RequestID string  `json:"requestId"`
	Headers   Headers `json:"headers"`
}

// DataReceived is Network.dataReceived. Lengths are bytes: decoded, on the wire.
type DataReceived struct {
	RequestID         string  `json:"requestId"`
	Timestamp         float64 `json:"timestamp"`
	DataLength        int64   `json:"dataLength"`
	EncodedDataLength int64   `json:"encodedDataLength"`
	Data              []byte  `json:"data,omitempty"`
}

// LoadingFinished is Network.loadingFinished.
type LoadingFinished struct {
	RequestID         string  `json:"requestId"`
	Timestamp         float64 `json:"timestamp"`
	EncodedDataLength float64 `json:"encodedDataLength"`
}

// LoadingFailed is Network.loadingFailed.
type LoadingFailed struct {
	RequestID string  `json:"requestId"`
	Timestamp float64 `json:"timestamp"`
	Type      string  `json:"type"`
	ErrorText string  `json:"errorText"`
	Canceled  bool    `json:"canceled"`

	BlockedReason string `json:"blockedReason,omitempty"` // "inspector": by the user of DevTools
}

// EventSourceMessageReceived is Network.eventSourceMessageReceived.
type EventSourceMessageReceived struct {
	RequestID string  `json:"requestId"`
	Timestamp float64 `json:"timestamp"`
	EventName string  `json:"eventName"`
	EventID   string  `json:"eventId"`
	Data      string  `json:"data"`
}
