// Package httpdec turns plaintext streams into HTTP: it takes bus.Plain and
// gives bus.HTTP, one bus.Event a record, and bus.Body, the bodies decoded for
// viewing. It knows HTTP/0.9 to HTTP/1.1 (RFC 9112) and HTTP/2 (RFC 9113), told
// apart by ALPN and else by the first bytes of either side, on any port; HTTP/3
// (RFC 9114); the messages of WebSocket, server-sent events and gRPC inside of them; and DNS, over
// UDP, TCP, TLS and HTTPS.
//
// What it shows is what the wire carried: field lines with their case, order
// and duplicates; what is wrong is shown with the words what is wrong, never
// repaired in silence.
package httpdec
