package cdp

// WebSocketCreated is Network.webSocketCreated.
type WebSocketCreated struct {
	RequestID string    `json:"requestId"`
	URL       string    `json:"url"`
	Initiator Initiator `json:"initiator"`
}

// WebSocketWillSendHandshakeRequest is Network.webSocketWillSendHandshakeRequest.
type WebSocketWillSendHandshakeRequest struct {
	RequestID string           `json:"requestId"`
	Timestamp float64          `json:"timestamp"`
	WallTime  float64          `json:"wallTime"`
	Request   WebSocketRequest `json:"request"`
}

// WebSocketRequest is Network.WebSocketRequest.
type WebSocketRequest struct {
	Headers Headers `json:"headers"`
}

// WebSocketHandshakeResponseReceived is Network.webSocketHandshakeResponseReceived.
type WebSocketHandshakeResponseReceived struct {
	RequestID string            `json:"requestId"`
	Timestamp float64           `json:"timestamp"`
	Response  WebSocketResponse `json:"response"`
}

// WebSocketResponse is Network.WebSocketResponse.
type WebSocketResponse struct {
	Status             int     `json:"status"`
	StatusText         string  `json:"statusText"`
	Headers            Headers `json:"headers"`
	HeadersText        string  `json:"headersText,omitempty"`
	RequestHeaders     Headers `json:"requestHeaders,omitempty"`
	RequestHeadersText string  `json:"requestHeadersText,omitempty"`
}

// WebSocketFrameEvent is Network.webSocketFrameSent and webSocketFrameReceived.
type WebSocketFrameEvent struct {
	RequestID string         `json:"requestId"`
	Timestamp float64        `json:"timestamp"`
	Response  WebSocketFrame `json:"response"`
}

// WebSocketFrame is Network.WebSocketFrame. PayloadData is text for opcode 1,
// else base64.
type WebSocketFrame struct {
	Opcode      int    `json:"opcode"`
	Mask        bool   `json:"mask"`
	PayloadData string `json:"payloadData"`
}

// WebSocketFrameError is Network.webSocketFrameError.
type WebSocketFrameError struct {
	RequestID    string  `json:"requestId"`
	Timestamp    float64 `json:"timestamp"`
	ErrorMessage string  `json:"errorMessage"`
}

// WebSocketClosed is Network.webSocketClosed.
type WebSocketClosed struct {
	RequestID string  `json:"requestId"`
	Timestamp float64 `json:"timestamp"`
}
