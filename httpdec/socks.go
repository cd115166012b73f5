package httpdec

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"

	"clipper/bus"
)

// socks follows the handshake of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929); what
// comes behind it is a conversation of its own.
type socks struct {
	c      *conn
	step   socksStep
	buf    []byte // of the message that is being received
	target string
}

type socksStep uint8

const (
	socksGreeting socksStep = iota
	socksMethod
	socksAuth
	socksAuthReply
	socksRequest
	socksReply
	socks4Request
	socks4Reply
	socksFailed
)

const maxSocksMessage = 1024

func newSocks(c *conn, version byte) *socks {
	if version == 4 {
		return &socks{c: c, step: socks4Request}
	}
	return &socks{c: c}
}

func (s *socks) dir() bus.Dir {
	switch s.step {
	case socksMethod, socksAuthReply, socksReply, socks4Reply:
		return bus.ServerToClient
	}
	return bus.ClientToServer
}

func (s *socks) data(dir bus.Dir, p []byte, t int64, force bool) (n int) {
	for n < len(p) && s.c.proto == protocol(s) {
		if s.step == socksFailed {
			return len(p)
		}
		if dir != s.dir() {
			if force {
				s.fail("out of order", t)
				continue
			}
			return n
		}
		s.buf = append(s.buf, p[n])
		n++
		if socksMessageLen(s.step, s.buf) == len(s.buf) {
			s.next(t)
			s.buf = s.buf[:0]
		} else if len(s.buf) > maxSocksMessage {
			s.fail("too long", t)
		}
	}
	return n
}

// socksMessageLen is the length of a message of which b is the beginning; more
// than len(b) when that is not known yet.
func socksMessageLen(step socksStep, b []byte) int {
	at := func(i int) int {
		if i < len(b) {
			return int(b[i])
		}
		return 1 << 16
	}
	switch step {
	case socksGreeting:
		return 2 + at(1)
	case socksMethod, socksAuthReply:
		return 2
	case socksAuth:
		user := at(1)
		return 3 + user + at(2+user)
	case socksRequest, socksReply:
		switch at(3) {
		case 1:
			return 10
		case 3:
			return 7 + at(4)
		case 4:
			return 22
		}
		return 1 << 16
	case socks4Reply:
		return 8
	case socks4Request:
		if len(b) < 9 {
			return 9
		}
		user := bytes.IndexByte(b[8:], 0)
		if user < 0 {
			return 1 << 16
		}
		if b[4]|b[5]|b[6] != 0 || b[7] == 0 {
			return 9 + user
		}
		host := bytes.IndexByte(b[9+user:], 0) // SOCKS 4a
		if host < 0 {
			return 1 << 16
		}
		return 10 + user + host
	}
	return 0
}

// next acts on a whole message.
func (s *socks) next(t int64) {
	b := s.buf
	switch s.step {
	case socksGreeting:
		s.step = socksMethod
	case socksMethod:
		switch b[1] {
		case 0:
			s.step = socksRequest
		case 2:
			s.step = socksAuth
		default:
			s.fail(fmt.Sprintf("the proxy wants the method %d", b[1]), t)
		}
	case socksAuth:
		s.step = socksAuthReply
	case socksAuthReply:
		if s.step = socksRequest; b[1] != 0 {
			s.fail("the proxy did not accept the password", t)
		}
	case socksRequest:
		s.step, s.target = socksReply, socksTarget(b)
		if b[1] != 1 {
			s.fail(fmt.Sprintf("its command is %d", b[1]), t)
		}
	case socksReply:
		if b[1] != 0 {
			s.fail(fmt.Sprintf("the proxy could not connect to %s (code %d)", s.target, b[1]), t)
			return
		}
		s.done()
	case socks4Request:
		s.step, s.target = socks4Reply, socks4Target(b)
	case socks4Reply:
		if b[1] != 0x5a {
			s.fail(fmt.Sprintf("the proxy could not connect to %s (code %d)", s.target, b[1]), t)
			return
		}
		s.done()
	}
}

func (s *socks) done() {
	s.c.tunnel = s.target
	s.c.proto, s.c.det = nil, detection{}
}

func socksTarget(b []byte) string {
	port := strconv.Itoa(int(b[len(b)-2])<<8 | int(b[len(b)-1]))
	host := b[4 : len(b)-2]
	if b[3] == 3 {
		return text(host[1:]) + ":" + port
	}
	a, _ := netip.AddrFromSlice(host)
	if a.Is6() {
		return "[" + a.String() + "]:" + port
	}
	return a.String() + ":" + port
}

func socks4Target(b []byte) string {
	port := strconv.Itoa(int(b[2])<<8 | int(b[3]))
	if b[4]|b[5]|b[6] == 0 && b[7] != 0 {
		rest := b[8:]
		return text(rest[bytes.IndexByte(rest, 0)+1:len(rest)-1]) + ":" + port
	}
	return netip.AddrFrom4([4]byte(b[4:8])).String() + ":" + port
}

func (s *socks) fail(why string, t int64) {
	s.step, s.buf = socksFailed, nil
	s.c.emitVerdict(bus.Verdict{Code: bus.VerdictNotHTTP, Reason: "the connection carries SOCKS, and " + why}, t)
}

func (s *socks) gap(_ bus.Dir, _ uint64, t int64) {
	if s.step != socksFailed {
		s.fail("bytes of it were not captured", t)
	}
}

func (s *socks) fin(bus.Dir, int64) {}

func (s *socks) abort(_ bus.Failure, t int64) {
	if s.step != socksFailed {
		s.fail("it ended before the handshake did", t)
	}
}
