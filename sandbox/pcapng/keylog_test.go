package pcapng

import (
	"strings"
	"testing"

	"clipper/bus"
)

// A line that was read is written as it was.
func TestKeyLogForms(t *testing.T) {
	lines := []string{
		"CLIENT_RANDOM " + strings.Repeat("0a", 32) + " " + strings.Repeat("1b", 48),
		"RSA 0102030405060708 " + strings.Repeat("1b", 48),
		"RSA Session-ID:" + strings.Repeat("2c", 32) + " Master-Key:" + strings.Repeat("1b", 48),
	}
	n := 0
	err := ReadKeyLog(strings.NewReader("# comment\n"+strings.Join(lines, "\n")+"\nRSA Session-ID:01 02\nRSA 01 Master-Key:02\n"), func(s *bus.TLSSecret) error {
		if got := s.KeyLogLine(); got != lines[n] {
			t.Errorf("%q, want %q", got, lines[n])
		}
		n++
		return nil
	})
	if err != nil || n != len(lines) {
		t.Errorf("%d lines, %v", n, err)
	}
}
