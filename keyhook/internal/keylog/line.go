// Package keylog reads lines of the SSLKEYLOGFILE format (RFC 9850) and
// follows files of it.
package keylog

import (
	"encoding/hex"
	"errors"
	"strings"

	"clipper/bus"
)

// ErrLine is a line that holds no secret.
var ErrLine = errors.New("keylog: not a line of an SSLKEYLOGFILE")

// Limits of a line (RFC 9850 section 2): a random or session id of at most 32
// bytes, a secret of at most 64 (SHA-512); labels are the reader's choice.
const (
	maxLabel  = 64
	maxRandom = 32
	maxSecret = 64
)

// ParseLine reads one line, without its end. Comments and blank lines are
// ErrLine. The label is passed on as it is: there may be new ones.
func ParseLine(line string) (*bus.TLSSecret, error) {
	label, rest, ok := strings.Cut(strings.TrimRight(line, " \t\r"), " ")
	if !ok || label == "" || len(label) > maxLabel || len(rest) > 2*maxRandom+1+2*maxSecret {
		return nil, ErrLine
	}
	for _, c := range []byte(label) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return nil, ErrLine
		}
	}
	r, s, ok := strings.Cut(rest, " ")
	if !ok {
		return nil, ErrLine
	}
	random, err1 := hex.DecodeString(r)
	secret, err2 := hex.DecodeString(s)
	if err1 != nil || err2 != nil || len(random) == 0 || len(random) > maxRandom || len(secret) == 0 || len(secret) > maxSecret {
		return nil, ErrLine
	}
	return &bus.TLSSecret{Label: label, ClientRandom: random, Secret: secret}, nil
}
