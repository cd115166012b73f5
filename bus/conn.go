package bus

import "net/netip"

// Flow is a transport five-tuple, seen from the client.
type Flow struct {
	Transport string         `json:"transport"` // "tcp" or "udp"
	Client    netip.AddrPort `json:"client"`
	Server    netip.AddrPort `json:"server"`
}

// ConnOpen is the payload of Open.
type ConnOpen struct {
	Flow
	// Partial: the beginning was not captured (no SYN); offsets count from the
	// first byte seen.
	Partial bool `json:"partial,omitempty"`
}

// EndReason says why a connection ended.
type EndReason string

// Reasons.
const (
	EndFIN     EndReason = "fin"     // both directions were closed in order
	EndReset   EndReason = "reset"   // RST; the Reset record before says by whom
	EndRefused EndReason = "refused" // RST in answer to the SYN
	EndUnreach EndReason = "unreachable"
	EndIdle    EndReason = "idle"    // nothing for the idle limit, in packet time
	EndReused  EndReason = "reused"  // a new SYN took the five-tuple
	EndCapture EndReason = "capture" // the capture ended first
	EndLimit   EndReason = "limit"   // given up for newer ones: too many were open at once
)

// ConnEnd is the payload of End.
type ConnEnd struct {
	Reason      EndReason `json:"reason"`
	Detail      string    `json:"detail,omitempty"`      // of unreachable, on the HTTP layer: the ICMP message
	Retransmits uint64    `json:"retransmits,omitempty"` // segments, both directions
	LostBytes   uint64    `json:"lostBytes,omitempty"`   // sum of the gaps
}

// TLSInfo is what is known of a connection's TLS, the payload of Info.
type TLSInfo struct {
	Version      string   `json:"version,omitempty"` // "TLS 1.3"
	Cipher       string   `json:"cipher,omitempty"`  // IANA name of the suite
	Group        string   `json:"group,omitempty"`   // "X25519MLKEM768"
	ALPN         string   `json:"alpn,omitempty"`    // negotiated
	ClientALPN   []string `json:"clientAlpn,omitempty"`
	SNI          string   `json:"sni,omitempty"`
	Resumed      bool     `json:"resumed,omitempty"`
	EarlyData    bool     `json:"earlyData,omitempty"`
	Started      int64    `json:"started,omitempty"`  // first byte of the ClientHello, Unix ns
	Finished     int64    `json:"finished,omitempty"` // end of the handshake, Unix ns
	ClientRandom []byte   `json:"clientRandom,omitempty"`
	Certificates [][]byte `json:"certificates,omitempty"` // the server's, DER, leaf first
	// ClientCertificates are the client's, DER, leaf first: the latest if it sent several chains.
	ClientCertificates [][]byte `json:"clientCertificates,omitempty"`
	JA3                string   `json:"ja3,omitempty"`
	JA4                string   `json:"ja4,omitempty"`
	Alert              *Alert   `json:"alert,omitempty"` // the first fatal alert, if any
	PID                int      `json:"pid,omitempty"`   // of the secrets
	Executable         string   `json:"executable,omitempty"`
	Library            string   `json:"library,omitempty"`
	Mechanism          string   `json:"mechanism,omitempty"`
}

// Alert is a TLS alert (RFC 8446, section 6).
type Alert struct {
	Dir         Dir    `json:"dir"`
	Level       string `json:"level"`       // "warning" or "fatal"
	Description string `json:"description"` // "bad_certificate"
	Code        uint8  `json:"code"`
	Time        int64  `json:"time"`
}

// Verdict says why a connection cannot be read. A later Info with data, or a
// later Verdict, replaces it.
type Verdict struct {
	Code   VerdictCode `json:"code"`
	Reason string      `json:"reason"`         // one sentence for a person
	Name   string      `json:"name,omitempty"` // that was looked up, with VerdictDNS; Reason begins with it
	Help   string      `json:"help,omitempty"` // what would make it readable
	// Preliminary: a secret that still comes would make it readable. Another
	// Verdict follows when none can come any more.
	Preliminary bool `json:"preliminary,omitempty"`
}

// VerdictCode is for machines.
type VerdictCode string

// Verdict codes.
const (
	VerdictNoSecret  VerdictCode = "no-secret"        // TLS, and no secret came
	VerdictSuite     VerdictCode = "unknown-suite"    // a cipher suite that tlsdec does not have
	VerdictECH       VerdictCode = "ech"              // encrypted client hello, no secret fits
	VerdictDamaged   VerdictCode = "damaged"          // lost packets, or records that do not authenticate
	VerdictMidstream VerdictCode = "mid-connection"   // the handshake was not captured
	VerdictHandshake VerdictCode = "handshake-failed" // ended by an alert before any data
	VerdictNotHTTP   VerdictCode = "not-http"         // readable, but another protocol
	VerdictVersion   VerdictCode = "unknown-version"  // a TLS version that tlsdec does not have
	VerdictDNS       VerdictCode = "dns-failed"       // a name has no address, or its name server gave none
)
