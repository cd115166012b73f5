package bus

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var testSecret = TLSSecret{Label: "CLIENT_TRAFFIC_SECRET_0", ClientRandom: bytes.Repeat([]byte{1}, 32), Secret: bytes.Repeat([]byte{2}, 48),
	PID: 77, TID: 78, Executable: "/usr/bin/curl", Library: "openssl", Mechanism: "hook"}

func TestSecret(t *testing.T) {
	r := SecretRecord(&testSecret, 5)
	got, err := ParseSecret(r)
	if err != nil || !reflect.DeepEqual(*got, testSecret) || r.Time != 5 || r.Layer != Keys || r.Type != Secret {
		t.Fatalf("%+v of %+v: %v", got, r, err)
	}
	clear(r.Payload)
	if got.Secret[0] != 2 {
		t.Error("the secret aliases the record")
	}
	if line := got.KeyLogLine(); line != "CLIENT_TRAFFIC_SECRET_0 "+strings.Repeat("01", 32)+" "+strings.Repeat("02", 48) {
		t.Error(line)
	}
	long := testSecret
	long.Executable = strings.Repeat("x", 300)
	if got, err := ParseSecret(SecretRecord(&long, 0)); err != nil || len(got.Executable) != 255 || got.Mechanism != "hook" {
		t.Errorf("a long path: %+v, %v", got, err)
	}
}

func TestSecretPrefixes(t *testing.T) {
	r := SecretRecord(&testSecret, 0)
	whole := r.Payload
	for n := range whole {
		r.Payload = whole[:n:n]
		if _, err := ParseSecret(r); !errors.Is(err, ErrSecret) {
			t.Fatalf("prefix of %d bytes: %v", n, err)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(SecretRecord(&testSecret, 0).Payload)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSecret(&Record{Payload: b})
		if err != nil {
			return
		}
		if again := AppendSecret(nil, s); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}
