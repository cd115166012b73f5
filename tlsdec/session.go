package tlsdec

import (
	"encoding/json"
	"fmt"

	"clipper/bus"
)

// epoch says with which keys a direction protects its records.
type epoch uint8

const (
	epochPlain     epoch = iota
	epochEarly           // TLS 1.3: 0-RTT
	epochHandshake       // TLS 1.3
	epochTraffic         // TLS 1.3: application traffic
	epochMaster          // before TLS 1.3: after ChangeCipherSpec
)

// session is what is known of a connection's TLS.
type session struct {
	info  bus.TLSInfo
	dirty bool // info has facts that were not given yet
	late  bool // the ClientHello was not at the beginning of the connection

	hello   *clientHello
	server  *serverHello // nil: not seen
	retried bool         // by a HelloRetryRequest
	version uint16
	tls13   bool
	suite   *suite // nil: not implemented

	random      []byte // client random that secrets are logged under: ECH may change it
	premasterID []byte // first bytes of the encrypted premaster secret
	transcript  []byte // of the handshake up to ClientKeyExchange, before TLS 1.3
	exchanged   bool   // ClientKeyExchange was seen
	helloDone   bool   // ServerHelloDone was seen: it is no abbreviated handshake
	master      []byte // that fitted, before TLS 1.3

	early     []earlyData // until the server accepts it
	earlyOver bool        // accepted or not, it is decided
	data      bool        // application data was given
	failed    bool        // a fatal alert was seen
}

// earlyData is a 0-RTT record that waits for the server's decision.
type earlyData struct {
	plain   []byte
	missing int // bytes that can't be read
	time    int64
}

func (e *earlyData) cost() int { return len(e.plain) + bus.RecordLen }

func newSession(started int64) *session {
	return &session{info: bus.TLSInfo{Started: started}, dirty: true}
}

// keys are those under which a secret of the session may be logged.
func (s *session) keys() []string {
	keys := []string{string(s.random)}
	if !s.tls13 && s.server != nil {
		if len(s.premasterID) > 0 {
			keys = append(keys, string(s.premasterID))
		}
		if len(s.server.sessionID) > 0 {
			keys = append(keys, string(s.server.sessionID))
		}
	}
	return keys
}

// anyKey reports whether the secret may be logged under a key that can't be
// known: that of the session which is resumed before TLS 1.3 (a Go program logs
// nothing then), or the random of an encrypted inner ClientHello.
func (s *session) anyKey() bool {
	if s.tls13 || s.server == nil {
		return s.hello != nil && s.hello.ech
	}
	return s.info.Resumed
}

// flushInfo gives the facts, if there are new ones.
func (c *conn) flushInfo(t int64) {
	s := c.tls
	if s == nil || !s.dirty {
		return
	}
	s.dirty = false
	payload, err := json.Marshal(&s.info)
	if err != nil {
		return // it holds no type that can fail
	}
	c.emit(bus.Info, payload, t)
}

// learned takes the origin of the first secret that fitted.
func (s *session) learned(from origin) {
	if s.info.PID != 0 || s.info.Library != "" || s.info.Mechanism != "" {
		return
	}
	s.info.PID, s.info.Executable, s.info.Library, s.info.Mechanism = from.pid, from.executable, from.library, from.mechanism
	s.dirty = true
}

func versionName(v uint16) string {
	switch v {
	case versionSSL2:
		return "SSL 2.0"
	case versionSSL3:
		return "SSL 3.0"
	case versionTLS10, versionTLS11, versionTLS12, versionTLS13:
		return fmt.Sprintf("TLS 1.%d", v-versionTLS10)
	}
	if v>>8 == 0x7f {
		return fmt.Sprintf("TLS 1.3 (draft %d)", v&0xff)
	}
	return fmt.Sprintf("0x%04x", v)
}
