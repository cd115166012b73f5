package pcapng

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"

	"clipper/bus"
)

// Limits of a line of an SSLKEYLOGFILE (RFC 9850, section 2): label, client
// random or session id, and secret.
const (
	maxLabel  = 64
	maxRandom = 32
	maxSecret = 64
)

// parseKeyLogLine reads a line; comments and whatever else are not ok. Beside RFC 9850's
// form there is the older "RSA Session-ID:… Master-Key:…".
func parseKeyLogLine(line []byte) (*bus.TLSSecret, bool) {
	fields := bytes.Fields(line[:min(len(line), 512)])
	if len(fields) != 3 || len(fields[0]) > maxLabel || fields[0][0] == '#' {
		return nil, false
	}
	label := string(fields[0])
	if id, ok := bytes.CutPrefix(fields[1], []byte("Session-ID:")); ok && label == "RSA" {
		if fields[2], ok = bytes.CutPrefix(fields[2], []byte("Master-Key:")); !ok {
			return nil, false
		}
		label, fields[1] = bus.LabelSessionID, id
	}
	random, err := hex.DecodeString(string(fields[1]))
	if err != nil || len(random) == 0 || len(random) > maxRandom {
		return nil, false
	}
	secret, err := hex.DecodeString(string(fields[2]))
	if err != nil || len(secret) == 0 || len(secret) > maxSecret {
		return nil, false
	}
	return &bus.TLSSecret{Label: label, ClientRandom: random, Secret: secret, Mechanism: "SSLKEYLOGFILE"}, true
}

// ReadKeyLog reads an SSLKEYLOGFILE and calls fn for each secret in it. Lines
// that are none are passed over.
func ReadKeyLog(r io.Reader, fn func(*bus.TLSSecret) error) error {
	in := bufio.NewReaderSize(r, 4096)
	for {
		line, err := in.ReadSlice('\n')
		if s, ok := parseKeyLogLine(line); ok && err != bufio.ErrBufferFull {
			if err := fn(s); err != nil {
				return err
			}
		}
		for err == bufio.ErrBufferFull { // no line of a key log: pass over the rest
			_, err = in.ReadSlice('\n')
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read key log: %w", err)
		}
	}
}
