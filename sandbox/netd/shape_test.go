//go:build linux

package netd

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

func TestLink(t *testing.T) {
	t0 := time.Unix(1000, 0)
	ms := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }
	l := newLink(1000) // 1 byte a millisecond
	for _, c := range []struct {
		at, n, passed, busy int
	}{
		{0, 100, 100, 100},   // alone
		{0, 50, 150, 150},    // behind it
		{120, 30, 180, 60},   // still behind
		{1000, 10, 1010, 10}, // after a pause, which saves nothing up
		{1005, 0, 1010, 5},
	} {
		if got := l.pass(ms(c.at), c.n); got != ms(c.passed) {
			t.Errorf("%d bytes at %d ms pass at %v, want %d ms", c.n, c.at, got.Sub(t0), c.passed)
		}
		if got := l.busy(ms(c.at)); got != time.Duration(c.busy)*time.Millisecond {
			t.Errorf("at %d ms busy for %v, want %d ms", c.at, got, c.busy)
		}
	}
	// Many small pieces take as long as one large one.
	l = newLink(1 << 20)
	var last time.Time
	for range 1 << 10 {
		last = l.pass(t0, 1<<10)
	}
	if d := last.Sub(t0); d < 999*time.Millisecond || d > 1001*time.Millisecond {
		t.Errorf("1 MiB at 1 MiB/s passes in %v", d)
	}
	var none *link
	if none.pass(t0, 1<<30) != t0 || none.busy(t0) != 0 {
		t.Error("no limit limits")
	}
	for rate, want := range map[int64]int{1: minPiece, 50_000: 1000, 1 << 40: maxPiece} {
		if got := newLink(rate).piece(); got != want {
			t.Errorf("%d bytes/s: pieces of %d, want %d", rate, got, want)
		}
	}
}

func TestShapeRules(t *testing.T) {
	id := func(server string) bus.Flow {
		return bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort("10.0.2.100:4000"), Server: netip.MustParseAddrPort(server)}
	}
	known := id("192.0.2.9:443")
	p := newShape(bus.Conditions{
		Blocking: []bus.BlockRule{
			{Target: bus.Target{Host: "good.ads.test"}},
			{Target: bus.Target{Host: "*.ads.test"}, Block: true},
			{Target: bus.Target{Host: "h2c.test", Flows: []bus.Flow{known}}, Block: true},
		},
		Limits: []bus.Limit{{Target: bus.Target{Host: "slow.test"}, Latency: 1}, {Latency: 2}},
	})
	name := func(s string) *string { return &s }
	for _, c := range []struct {
		flow    bus.Flow
		name    *string
		blocked bool
		latency time.Duration
	}{
		{id("192.0.2.1:443"), nil, false, 2},
		{id("192.0.2.1:443"), name("x.ads.test"), true, 2},
		{id("192.0.2.1:443"), name("good.ads.test"), false, 2}, // the first rule decides
		{known, nil, true, 2},
		{id("192.0.2.1:443"), name("slow.test"), false, 1},
	} {
		if got := p.blocks(c.flow, c.name); got != c.blocked {
			t.Errorf("%v: blocked %v", c, got)
		}
		if got := p.limit(c.flow, c.name).latency; got != c.latency {
			t.Errorf("%v: latency %d", c, got)
		}
	}
	var none *shape
	if none.limit(known, nil) != noLimit {
		t.Error("a limit without a shape")
	}
}

// hello is what crypto/tls sends first to a server of a name.
func hello(t testing.TB, name string) []byte {
	client, server := net.Pipe()
	defer client.Close()
	go tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	defer server.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// split puts each n bytes of a ClientHello into a record of its own.
func split(b []byte, n int) (out []byte) {
	for body := b[5:]; len(body) > 0; {
		k := min(n, len(body))
		out = append(append(out, 0x16, 3, 1, byte(k>>8), byte(k)), body[:k]...)
		body = body[k:]
	}
	return out
}

func TestServerName(t *testing.T) {
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"ClientHello", "api.test", hello(t, "api.test")},
		{"ClientHello in records", "api.test", split(hello(t, "api.test"), 100)},
		{"HTTP", "api.test", []byte("GET /x HTTP/1.1\r\nUser-Agent: x\r\nHost: api.test:8080\r\n\r\n")},
		{"HTTP, absolute", "api.test", []byte("GET http://api.test/x HTTP/1.1\r\nHost: other\r\n\r\n")},
		{"CONNECT", "api.test", []byte("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.b {
				if name, more := serverName(c.b[:i]); name != c.want && (name != "" || !more) {
					t.Fatalf("%d of %d bytes: %q, more %v", i, len(c.b), name, more)
				}
			}
			for _, b := range [][]byte{c.b, append(bytes.Clone(c.b), "rest"...)} {
				if name, more := serverName(b); name != c.want || more {
					t.Errorf("%q, more %v", name, more)
				}
			}
		})
	}
	for _, s := range []string{
		"\x00", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "EHLO mail\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "Q\x00\x00",
		"GET / HTTP/1.1\r\nbad header\r\n\r\n", "GET /" + strings.Repeat("x", maxHead),
	} {
		if name, more := serverName([]byte(s)); name != "" || more {
			t.Errorf("%.20q: %q, more %v", s, name, more)
		}
	}
}

func FuzzServerName(f *testing.F) {
	f.Add(hello(f, "api.test"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, more := serverName(b); more && len(b) >= maxHead {
			t.Error("more than enough is not enough")
		}
	})
}

// A flow that waits for two times goes on at the first.
func TestWakeIsTheFirst(t *testing.T) {
	f := &tcpFlow{l: &loop{}}
	f.wake(5)
	f.wake(500)
	if f.wakeAt != 5 || f.l.next != 5 {
		t.Errorf("goes on at %d, the loop at %d", f.wakeAt, f.l.next)
	}
}

// However many connections are offline, what their peers send is not all taken.
func TestTravelsAreBounded(t *testing.T) {
	l := &loop{}
	l.scratch = l.pool.Get(tcp.MaxPayload)
	taken := func(flows int) (n int) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		for range flows {
			f := &tcpFlow{l: l, fd: pair[0]}
			for before := -1; before != f.size; { // until it takes no more
				before = f.size
				unix.Write(pair[1], make([]byte, 128<<10))
				f.readable = true
				f.setOut()
			}
			n += f.size
		}
		return n
	}
	if n := taken(1); n < wideWindow {
		t.Errorf("one connection: %d bytes", n)
	}
	const flows = 200
	if n := taken(flows); n > maxWideMemory+wideWindow+flows*2*narrowWindow {
		t.Errorf("%d connections: %d bytes", flows, n)
	}
}

// A sandbox that sends without end does not keep netd from its own end.
func TestUnsentEnds(t *testing.T) {
	fd, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	l := &loop{n: &nat{tun: &tun{fd: fd, wait: func() {}}}}
	if flows, bytes := l.unsent(); flows != 0 || bytes != 0 {
		t.Errorf("%d flows with %d bytes", flows, bytes)
	}
}

// What a line carries arrives whole and in order, also when the conditions change.
func TestLine(t *testing.T) {
	s := newShaper()
	set := func(c bus.Conditions) {
		t.Helper()
		if err := s.set(c); err != nil {
			t.Fatal(err)
		}
	}
	set(bus.Conditions{Limits: []bus.Limit{{Latency: int64(time.Minute)}}})
	var got bytes.Buffer
	var want bytes.Buffer
	const last = 999
	arrived := make(chan bool)
	l := newLine(s, func([]byte) time.Duration { return s.on.Load().limit(bus.Flow{}, nil).latency }, func(b []byte) {
		if got.Write(b); len(b) == last {
			close(arrived)
		}
	})
	for i := range last + 1 {
		b := []byte(strings.Repeat(string(rune('a'+i%26)), i))
		want.Write(b)
		l.offer(b, 1<<20)
		clear(b) // it took a copy
		switch i {
		case 300: // what travels arrives within a minute, or when the way becomes short
			set(bus.Conditions{Limits: []bus.Limit{{Latency: int64(time.Millisecond)}}})
		case 600:
			set(bus.Conditions{})
		}
	}
	<-arrived
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes arrived of %d", got.Len(), want.Len())
	}
	// What there is no room for is lost.
	l = newLine(s, func([]byte) time.Duration { return 0 }, func([]byte) { t.Error("delivered") })
	l.offer(make([]byte, 100), 99)
	if !l.idle() {
		t.Error("taken")
	}
}
