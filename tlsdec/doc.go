// Package tlsdec is the stage that takes TLS off: it reads reassembled TCP
// streams, UDP datagrams and the TLS secrets of the programs that made them
// (layers TCP, UDP and Keys), and gives the same connections as plaintext
// (layer Plain). What is not TLS passes through unchanged. Of QUIC the packet
// protection is taken off, too: Plain has its streams.
//
// TLS is found by its bytes, at the start of a connection or later (STARTTLS,
// CONNECT), never by port, and inside TLS once more (an HTTPS proxy). The stage follows the handshake as a silent
// listener, so it needs no certificate and no private key: only the secrets that
// SSLKEYLOGFILE defines (RFC 9850). A connection whose secret has not come
// waits, and all its later records wait with it in order; that is what makes
// the output independent of when secrets arrive. Where the driver can read the log
// again, what waits beyond a limit is left there (spill.go). What can never be read
// ends with a verdict.
//
// Each connection is a function of its own records and of the secrets; the
// protocol elements (record, handshake messages, key schedule, protections) are
// in files of their names.
package tlsdec
