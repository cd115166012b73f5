package pcapng

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"clipper/bus"
)

// blockTypes lists the blocks of a file of this machine's byte order.
func blockTypes(t *testing.T, b []byte) (types []uint32) {
	t.Helper()
	for len(b) >= 12 {
		types = append(types, binary.LittleEndian.Uint32(b))
		b = b[binary.LittleEndian.Uint32(b[4:]):]
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
	return types
}

// TestEarlySecrets: the secrets that come before the first frame stand between
// the interface and that frame, where editcap can read them.
func TestEarlySecrets(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	secret := bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: make([]byte, 32), Secret: make([]byte, 48)}, 0)
	frame := &bus.Record{Layer: bus.Frames, Type: 101, Aux: 4, Payload: []byte{1, 2, 3, 4}}
	for _, r := range []*bus.Record{secret, secret, frame, secret} {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := []uint32{blockSection, blockInterface, blockSecrets, blockSecrets, blockEnhanced, blockSecrets}
	if got := blockTypes(t, out.Bytes()); !slices.Equal(got, want) {
		t.Errorf("blocks %#x, want %#x", got, want)
	}
}

// TestOnlySecrets: without a frame they are written at the end.
func TestOnlySecrets(t *testing.T) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Options{})
	w.Write(bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: make([]byte, 32), Secret: make([]byte, 48)}, 0))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := blockTypes(t, out.Bytes()), []uint32{blockSection, blockSecrets}; !slices.Equal(got, want) {
		t.Errorf("blocks %#x, want %#x", got, want)
	}
}
