package keylog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = "CLIENT_TRAFFIC_SECRET_0 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f " +
	"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

func TestParseLine(t *testing.T) {
	s, err := ParseLine(good)
	if err != nil || s.Label != "CLIENT_TRAFFIC_SECRET_0" || len(s.ClientRandom) != 32 || len(s.Secret) != 32 || s.KeyLogLine() != good {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, l := range []string{"RSA 0011223344556677 " + strings.Repeat("ab", 48), good + "\r", good + "  "} {
		if _, err := ParseLine(l); err != nil {
			t.Errorf("%q: %v", l, err)
		}
	}
	for _, l := range []string{"", "# comment", "A", "A ", "A 00", "A 00 ", "A 0 00", "A 00 0", "A zz 00", "a 00 00", "A  00 00",
		strings.Repeat("A", maxLabel+1) + " 00 00", "A " + strings.Repeat("00", 33) + " 00", "A 00 " + strings.Repeat("00", 65), good + " 00"} {
		if s, err := ParseLine(l); err == nil {
			t.Errorf("%q: %+v", l, s)
		}
	}
	// Every prefix is either no line or a shorter secret: never a panic.
	for i := range good {
		ParseLine(good[:i])
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseLine(line)
		if err != nil {
			return
		}
		again, err := ParseLine(s.KeyLogLine())
		if err != nil || again.KeyLogLine() != s.KeyLogLine() {
			t.Fatalf("%q does not survive", line)
		}
	})
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tail := &Tail{File: File{Path: path}}
	defer tail.Close()
	read := func(want int) {
		t.Helper()
		s, _, err := tail.Read()
		if err != nil || len(s) != want {
			t.Fatalf("%d secrets, want %d: %v", len(s), want, err)
		}
	}
	write := func(s string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	read(0) // it does not exist
	write("# comment\n" + good + "\n" + good[:30])
	read(1)
	read(0)
	write(good[30:])
	read(0)
	write("\n")
	read(1)
	write(strings.Repeat("x", maxLine+1))
	read(0)
	write(good + "\n" + good + "\n") // the first ends the line that is too long
	read(1)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(good + "\n")
	read(1)
}

func TestTailOffset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(good+"\n"+good+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tail := &Tail{File: File{Path: path, Offset: int64(len(good) + 1)}}
	defer tail.Close()
	if s, _, err := tail.Read(); err != nil || len(s) != 1 {
		t.Fatalf("%d secrets, %v", len(s), err)
	}
}
