//go:build linux

package porttest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// A port that is kept refuses connections and has room for a server, again and
// again, but not for a client.
func TestTCP(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		at := TCP(t, ip)
		for range 2 {
			if _, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("dial %v: %v; want a refusal", at, err)
			}
			l, err := net.Listen("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			client := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(at)}
			if _, err := client.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a client got %v: %v", at, err)
			}
			c, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			l.Close()
		}
	}
}

func TestUDP(t *testing.T) {
	at := UDP(t)
	if _, err := keep(t, at, false); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v may be given to another: %v", at, err)
	}
	c, err := net.ListenPacket("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
