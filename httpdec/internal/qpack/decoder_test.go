package qpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	qpackgo "github.com/quic-go/qpack"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

func nothing() {}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// section decodes one section to "name: value" lines.
func section(d *Decoder, p []byte) (string, error) {
	var lines []string
	err := d.Section(p, func(f bus.Field) { lines = append(lines, f.Name+": "+f.Value) })
	return strings.Join(lines, "\n"), err
}

// TestExamples: RFC 9204, appendix B, whole and byte by byte, with a snapshot after each step.
func TestExamples(t *testing.T) {
	steps := []struct {
		encoder, section, want string
		err                    error
	}{
		{section: "0000 510b 2f69 6e64 6578 2e68 746d 6c", want: ":path: /index.html"}, // B.1
		{section: "0381 10 11", err: ErrBlocked},                                       // B.2, before
		{encoder: "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468", section: "0381 10 11", want: ":authority: www.example.com\n:path: /sample/path"}, // B.2
		{encoder: "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565"},                                                                                                           // B.3
		{encoder: "02", section: "0500 80 c1 81", want: ":authority: www.example.com\n:path: /\ncustom-key: custom-value"},                                                                 // B.4
		{encoder: "810d 6375 7374 6f6d 2d76 616c 7565 32"},                                                                                                                                 // B.5
	}
	for _, chunk := range []int{1, 1000} {
		d := new(Decoder)
		if err := d.Allow(220, nothing); err != nil {
			t.Fatal(err)
		}
		for i, s := range steps {
			for p := range slices.Chunk(unhex(t, s.encoder), chunk) {
				if err := d.Encoder(p, nothing); err != nil {
					t.Fatal(i, err)
				}
				w := snapshot.Append(nil)
				d.Snapshot(w)
				r := snapshot.Read(w.Written())
				back := new(Decoder)
				back.Snapshot(r)
				if err := r.Done(); err != nil {
					t.Fatal(i, err)
				}
				if a, b := fmt.Sprintf("%+v", *d), fmt.Sprintf("%+v", *back); a != b {
					t.Fatalf("restored %s, want %s", b, a)
				}
				d = back
			}
			if s.section == "" {
				continue
			}
			if got, err := section(d, unhex(t, s.section)); got != s.want || !errors.Is(err, s.err) {
				t.Errorf("step %d: %q, %v; want %q, %v", i, got, err, s.want, s.err)
			}
		}
		if d.inserts != 5 || len(d.table.Entries) != 4 {
			t.Errorf("%d inserts, %d entries", d.inserts, len(d.table.Entries))
		}
	}
}

// TestEncoder: what another implementation encodes comes back, and all of the static table.
func TestEncoder(t *testing.T) {
	var want []string
	var buf bytes.Buffer
	e := qpackgo.NewEncoder(&buf)
	for _, f := range append(static[:], bus.Field{Name: "x-" + strings.Repeat("y", 300), Value: strings.Repeat("z", 70000)}, bus.Field{Name: ":status", Value: "777"}) {
		if err := e.WriteField(qpackgo.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			t.Fatal(err)
		}
		want = append(want, f.Name+": "+f.Value)
	}
	got, err := section(new(Decoder), buf.Bytes())
	if err != nil || got != strings.Join(want, "\n") {
		t.Errorf("%v\n%.2000s", err, got)
	}
	for i := range buf.Len() - 1 {
		if _, err := section(new(Decoder), buf.Bytes()[:i]); err == nil && i < 2 {
			t.Fatalf("%d bytes are a section", i)
		}
	}
}

// TestLost: after a hole in the encoder stream the fields that it made have no names.
func TestLost(t *testing.T) {
	d := new(Decoder)
	d.Allow(220, nothing)
	d.Forget()
	if err := d.Encoder(unhex(t, "ffff"), nothing); err != nil {
		t.Fatal(err)
	}
	got, err := section(d, unhex(t, "0381 10 11 d1"))
	if want := strings.Repeat(bus.NotCaptured+": "+bus.NotCaptured+"\n", 2) + ":method: GET"; got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(unhex(f, "3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468"), unhex(f, "03811011"))
	f.Add(unhex(f, "4a637573746f6d2d6b65790c637573746f6d2d76616c756502"), unhex(f, "050080c181"))
	f.Fuzz(func(t *testing.T, encoder, sec []byte) {
		whole, parts := new(Decoder), new(Decoder)
		whole.Allow(4096, nothing)
		parts.Allow(4096, nothing)
		err := whole.Encoder(encoder, nothing)
		var errParts error
		for i := range encoder {
			if errParts == nil {
				errParts = parts.Encoder(encoder[i:i+1], nothing)
			}
		}
		if (err == nil) != (errParts == nil) {
			t.Fatalf("%v, in pieces %v", err, errParts)
		}
		a, errA := section(whole, sec)
		b, errB := section(parts, sec)
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("%q %v, in pieces %q %v", a, errA, b, errB)
		}
	})
}

// TestBeforeSettings: what comes before the settings waits for them.
func TestBeforeSettings(t *testing.T) {
	d := new(Decoder)
	if err := d.Encoder(unhex(t, "3fbd01 c00f 7777772e6578616d706c652e636f6d"), nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := section(d, unhex(t, "0200 80")); err != ErrBlocked {
		t.Errorf("%v before the settings", err)
	}
	if err := d.Allow(220, nothing); err != nil {
		t.Fatal(err)
	}
	if got, err := section(d, unhex(t, "0200 80")); got != ":authority: www.example.com" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
