package bus

import (
	"errors"
	"fmt"
)

// TLSSecret is one line of a key log with its origin. Labels are those of
// SSLKEYLOGFILE (RFC 9850), for example CLIENT_RANDOM, CLIENT_TRAFFIC_SECRET_0.
type TLSSecret struct {
	Label        string
	ClientRandom []byte // 32 bytes (or a session id, by label)
	Secret       []byte // 32 to 64 bytes
	PID, TID     int    // 0: unknown
	Executable   string
	Library      string // "openssl", "go", ...
	Mechanism    string // "hook", "SSLKEYLOGFILE", ...
}

// LabelSessionID is the label of a master secret that is known by the session id: in
// a key log its line is "RSA Session-ID:… Master-Key:…".
const LabelSessionID = "RSA Session-ID"

// KeyLogLine is the secret as a line of an SSLKEYLOGFILE, without newline.
func (s *TLSSecret) KeyLogLine() string {
	if s.Label == LabelSessionID {
		return fmt.Sprintf("RSA Session-ID:%x Master-Key:%x", s.ClientRandom, s.Secret)
	}
	return fmt.Sprintf("%s %x %x", s.Label, s.ClientRandom, s.Secret)
}

// ErrSecret is a malformed secret record.
var ErrSecret = errors.New("bus: malformed secret record")

// AppendSecret appends the payload of a Secret record: six fields, each with a
// one-byte length; strings are cut at 255 bytes.
func AppendSecret(b []byte, s *TLSSecret) []byte {
	field := func(f string) {
		if len(f) > 255 {
			f = f[:255]
		}
		b = append(append(b, byte(len(f))), f...)
	}
	field(s.Label)
	field(string(s.ClientRandom))
	field(string(s.Secret))
	field(s.Executable)
	field(s.Library)
	field(s.Mechanism)
	return b
}

// SecretRecord makes the record of s; time is Unix ns.
func SecretRecord(s *TLSSecret, time int64) *Record {
	return &Record{Layer: Keys, Type: Secret, Time: time, Aux: uint32(s.PID), Stream: uint64(s.TID), Payload: AppendSecret(nil, s)}
}

// ParseSecret reads a Secret record. The result does not alias it.
func ParseSecret(r *Record) (*TLSSecret, error) {
	var f [6]string
	b := r.Payload
	for i := range f {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return nil, ErrSecret
		}
		f[i] = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	return &TLSSecret{Label: f[0], ClientRandom: []byte(f[1]), Secret: []byte(f[2]), PID: int(r.Aux), TID: int(r.Stream),
		Executable: f[3], Library: f[4], Mechanism: f[5]}, nil
}
