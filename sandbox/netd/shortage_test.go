//go:build linux

package netd

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection for which the host has no room waits for a while, and is then not
// told that the server refused it; an answer of the network is passed on at once.
func TestShortage(t *testing.T) {
	var s shortage
	key := flowKey{netip.MustParseAddrPort("10.0.2.100:1000"), netip.MustParseAddrPort("127.0.0.1:80")}
	for _, c := range []struct {
		at   time.Duration
		err  unix.Errno
		wait bool
		then error
	}{
		{0, unix.ECONNREFUSED, false, unix.ECONNREFUSED},
		{0, unix.EMFILE, true, nil},
		{time.Second, unix.EMFILE, true, nil},
		{shortageTime, unix.EMFILE, false, unix.EHOSTUNREACH},
		{shortageTime, unix.EADDRNOTAVAIL, true, nil}, // of another connection with the same addresses
	} {
		if wait, err := s.postpone(key, c.err, c.at); wait != c.wait || err != c.then {
			t.Errorf("%v at %v: %v, %v; want %v, %v", c.err, c.at, wait, err, c.wait, c.then)
		}
	}
	for port := range uint16(maxWaiting + 1) {
		s.postpone(flowKey{key.program, netip.AddrPortFrom(key.peer.Addr(), port)}, unix.EMFILE, 0)
	}
	if len(s.since) > maxWaiting {
		t.Errorf("%d connections are remembered", len(s.since))
	}
}
