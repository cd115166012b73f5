package tlsdec

import (
	"bytes"
	"strings"

	"clipper/bus"
)

// label is what a secret is for, from its SSLKEYLOGFILE label (RFC 9850, section 2.1).
type label uint8

const (
	labelMaster        label = 1 + iota // CLIENT_RANDOM: TLS 1.2's and earlier master secret
	labelClientEarly                    // CLIENT_EARLY_TRAFFIC_SECRET
	labelClientHS                       // CLIENT_HANDSHAKE_TRAFFIC_SECRET
	labelServerHS                       // SERVER_HANDSHAKE_TRAFFIC_SECRET
	labelClientTraffic                  // CLIENT_TRAFFIC_SECRET_0
	labelServerTraffic                  // SERVER_TRAFFIC_SECRET_0
	labelPremaster                      // premaster secret, by client random or the first 8 bytes of its encrypted form
	labelSession                        // RSA Session-ID: master secret by session id
)

func parseLabel(s string) label {
	switch strings.TrimPrefix(s, "QUIC_") {
	case "CLIENT_RANDOM":
		return labelMaster
	case "CLIENT_EARLY_TRAFFIC_SECRET":
		return labelClientEarly
	case "CLIENT_HANDSHAKE_TRAFFIC_SECRET":
		return labelClientHS
	case "SERVER_HANDSHAKE_TRAFFIC_SECRET":
		return labelServerHS
	case "CLIENT_TRAFFIC_SECRET_0":
		return labelClientTraffic
	case "SERVER_TRAFFIC_SECRET_0":
		return labelServerTraffic
	case "RSA", "PMS_CLIENT_RANDOM":
		return labelPremaster
	case bus.LabelSessionID:
		return labelSession
	}
	return 0
}

// secret is one line of the key log.
type secret struct {
	label label
	value []byte
	from  origin
}

// origin says where a secret came from.
type origin struct {
	pid                            int
	executable, library, mechanism string
}

// maxLines bounds the different secrets kept for one client random and label:
// who logs more than this is not telling the truth.
const maxLines = 4

// entry holds the secrets of one key: a client random, or what the label says.
type entry struct {
	key   string
	lines []secret // in the order they came
}

// find returns the lines of label, the newest first.
func (e *entry) find(l label, out []*secret) []*secret {
	if e == nil {
		return out
	}
	for i := len(e.lines) - 1; i >= 0; i-- {
		if e.lines[i].label == l {
			out = append(out, &e.lines[i])
		}
	}
	return out
}

func (e *entry) has(l label) bool {
	if e == nil {
		return false
	}
	for i := range e.lines {
		if e.lines[i].label == l {
			return true
		}
	}
	return false
}

// secrets is the key log, bounded: the oldest entries are forgotten first.
type secrets struct {
	max    int
	byKey  map[string]*entry
	recent []*entry // in the order they came
}

func newSecrets(max int) *secrets {
	return &secrets{max: max, byKey: map[string]*entry{}}
}

// add keeps a secret and returns its entry, or nil if it is of no use or known.
func (s *secrets) add(t *bus.TLSSecret) *entry {
	l := parseLabel(t.Label)
	if l == 0 || len(t.ClientRandom) == 0 || len(t.Secret) == 0 {
		return nil
	}
	e := s.byKey[string(t.ClientRandom)]
	if e == nil {
		e = &entry{key: string(t.ClientRandom)}
		s.byKey[e.key] = e
		s.recent = append(s.recent, e)
		if len(s.recent) > s.max {
			delete(s.byKey, s.recent[0].key)
			s.recent[0] = nil
			s.recent = s.recent[1:]
		}
	}
	same, oldest := 0, -1
	for i := range e.lines {
		if e.lines[i].label != l {
			continue
		}
		if bytes.Equal(e.lines[i].value, t.Secret) {
			return nil
		}
		if same++; oldest < 0 {
			oldest = i
		}
	}
	if same >= maxLines {
		e.lines = append(e.lines[:oldest:oldest], e.lines[oldest+1:]...)
	}
	e.lines = append(e.lines, secret{label: l, value: t.Secret,
		from: origin{t.PID, t.Executable, t.Library, t.Mechanism}})
	return e
}

// get returns the entry of a key, or nil.
func (s *secrets) get(key []byte) *entry { return s.byKey[string(key)] }
