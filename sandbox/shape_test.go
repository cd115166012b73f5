//go:build linux

package sandbox_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clipper/bus"
)

// conditionsEnv names the socket on which netd takes network conditions.
const conditionsEnv = "CLIPPER_TEST_CONDITIONS"

// serveConditions takes conditions, one a line, and answers each with a line.
func serveConditions(socket string, apply func(bus.Conditions) error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		for s := bufio.NewScanner(c); s.Scan(); {
			var conditions bus.Conditions
			if err := json.Unmarshal(s.Bytes(), &conditions); err != nil {
				panic(err)
			}
			fmt.Fprintln(c, apply(conditions))
		}
	}()
}

// shaped is a shell in a sandbox whose network can be made worse.
type shaped struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	control net.Conn
	answers *bufio.Reader
	events  string // file of the process events
}

func startShaped(t *testing.T) *shaped {
	t.Helper()
	w := caller(t)
	s := &shaped{t: t, events: filepath.Join(w.home, "events")}
	socket := filepath.Join(w.home, "conditions")
	cmd := w.command(t, settings{}, "bash")
	cmd.Env = append(cmd.Env, ownersEnv+"="+s.events, conditionsEnv+"="+socket)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	s.in, s.out = in, bufio.NewReader(out)
	s.do("true") // the network stands
	if s.control, err = net.Dial("unix", socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.control.Close() })
	s.answers = bufio.NewReader(s.control)
	return s
}

// do runs a command inside and gives its output and, last, its exit status.
func (s *shaped) do(script string) string {
	s.t.Helper()
	fmt.Fprintf(s.in, "{ %s\n} 2>&1; echo \" $? done\"\n", script)
	var all strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v", script, err)
		}
		all.WriteString(line)
		if text, ok := strings.CutSuffix(all.String(), " done\n"); ok {
			return text
		}
	}
}

func (s *shaped) set(c bus.Conditions) {
	s.t.Helper()
	b, _ := json.Marshal(c)
	fmt.Fprintf(s.control, "%s\n", b)
	if answer, err := s.answers.ReadString('\n'); err != nil || answer != "<nil>\n" {
		s.t.Fatalf("%s: %q, %v", b, answer, err)
	}
}

// want runs a command and compares what it printed.
func (s *shaped) want(script, want string) {
	s.t.Helper()
	if got := s.do(script); got != want {
		s.t.Errorf("%s: %q, want %q", script, got, want)
	}
}

func block(t bus.Target) bus.Conditions {
	return bus.Conditions{Blocking: []bus.BlockRule{{Target: t, Block: true}}}
}

// Offline, what begins fails, what is open waits, and nothing is lost.
func TestShapeOffline(t *testing.T) {
	s := startShaped(t)
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, c) })
	open := "exec 3<>/dev/tcp/127.0.0.1/" + port(t, addr)
	s.want(open, " 0")
	s.want("echo one >&3; read line <&3; echo $line", "one\n 0")
	s.set(bus.Conditions{Offline: true})
	if got := s.do("exec 4<>/dev/tcp/127.0.0.1/" + port(t, addr)); !strings.Contains(got, "Network is unreachable") {
		t.Errorf("a new connection: %s", got)
	}
	if got := s.do("exec 5<>/dev/udp/127.0.0.1/9; for i in $(seq 1000); do echo x >&5 || break; sleep 0.01; done"); !strings.Contains(got, "Network is unreachable") {
		t.Errorf("a datagram: %s", got)
	}
	s.want("echo two >&3; read -t 0.1 line <&3 || echo nothing", "nothing\n 0")
	s.set(bus.Conditions{})
	s.want("read line <&3; echo $line", "two\n 0")
	s.want(strings.Replace(open, "3", "4", 1), " 0")
}

// A host is blocked by its name, whatever else has its address; by its address;
// and by what is known of an open connection.
func TestShapeBlock(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secure") }))
	defer secure.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain") }))
	defer plain.Close()
	sp, pp := port(t, secure.Listener.Addr().String()), port(t, plain.Listener.Addr().String())
	s := startShaped(t)
	curl := func(scheme, host, p string) string {
		return fmt.Sprintf("curl -sk --resolve %s:%s:127.0.0.1 %s://%s:%s/", host, p, scheme, host, p)
	}
	s.set(block(bus.Target{Host: "*.ads.test"}))
	const cut = " 56"      // curl: failure in receiving
	const tlsCut = " 35"   // curl: TLS connect error
	const noConnect = " 7" // curl: could not connect
	s.want(curl("https", "x.ads.test", sp), tlsCut)
	s.want(curl("http", "x.ads.test", pp), cut)
	s.want(curl("https", "good.test", sp), "secure 0")
	s.want(curl("http", "good.test", pp), "plain 0")

	number, _ := strconv.Atoi(pp)
	s.set(block(bus.Target{Host: "127.0.0.1", Ports: []uint16{uint16(number)}}))
	s.want(curl("http", "good.test", pp), noConnect)
	s.want(curl("https", "good.test", sp), "secure 0")
	told := func() (n int) {
		events, err := os.ReadFile(s.events)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(events), `"type":"blocked"`)
	}
	for range 6000 { // the events come beside the packets
		if told() >= 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := told(); n < 3 {
		t.Errorf("%d connections were told to be blocked, want 3", n)
	}

	s.set(bus.Conditions{})
	addr := listen(t, "127.0.0.1:0", func(c net.Conn) { // tells the client its own address
		fmt.Fprintln(c, "hello")
		io.Copy(io.Discard, c)
	})
	s.want("exec 3<>/dev/tcp/127.0.0.1/"+port(t, addr)+"; read line <&3; echo $line", "hello\n 0")
	local := strings.Fields(s.do("ss -Htn dport = :" + port(t, addr)))[3]
	s.set(block(bus.Target{Host: "known.test", Flows: []bus.Flow{{Transport: "tcp", Client: netip.MustParseAddrPort(local), Server: netip.MustParseAddrPort(addr)}}}))
	if got := s.do("read line <&3"); !strings.Contains(got, "Connection reset by peer") {
		t.Errorf("the open connection: %s", got)
	}
}

// Whatever conditions follow each other, TCP arrives as it was sent.
func TestShapeKeepsTCP(t *testing.T) {
	const size = 24 << 20
	h := sha256.New()
	io.Copy(h, stream(size))
	want := fmt.Sprintf("%d %x\n 0", size, h.Sum(nil))
	source := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, stream(size)) })
	sink := listen(t, "127.0.0.1:0", func(c net.Conn) {
		h := sha256.New()
		io.Copy(h, c)
		fmt.Fprintf(c, "%x", h.Sum(nil))
	})
	s := startShaped(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
			}
			var c bus.Conditions
			switch r.IntN(4) {
			case 0:
			case 1:
				c.Offline = true
			default:
				c.Limits = []bus.Limit{{Latency: r.Int64N(4e6), Download: r.Int64N(2) * (8<<20 + r.Int64N(64<<20)), Upload: r.Int64N(2) * (8<<20 + r.Int64N(64<<20))}}
				c.Blocking = []bus.BlockRule{{Target: bus.Target{Host: "other.test"}, Block: true}}
			}
			s.set(c)
			if c.Offline { // no connection begins meanwhile
				s.set(bus.Conditions{})
			}
		}
	}()
	retry := "for i in $(seq 100); do %s && break; done" // one that begins while offline fails, rightly
	s.want(fmt.Sprintf(retry, fmt.Sprintf("%s client download %s 2>/dev/null", exe, source)), want)
	s.want(fmt.Sprintf(retry, fmt.Sprintf("%s client upload %s %d 2>/dev/null", exe, sink, size)), " 0")
	close(stop)
	<-stopped
}

// A limit takes at least the time that it stands for.
func TestShapeLimit(t *testing.T) {
	const size = 200_000
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, size))
	}))
	defer source.Close()
	udp := udpPeer(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := startShaped(t)
	s.set(bus.Conditions{Limits: []bus.Limit{{Latency: 200e6, Download: 400_000, Upload: 200_000}}})
	out := s.do(fmt.Sprintf("head -c %d /dev/zero | curl -s -o /dev/null -H Expect: --data-binary @- -w '%%{time_connect} %%{time_total}' %s", size, source.URL))
	var connect, total float64
	if n, err := fmt.Sscan(out, &connect, &total); n != 2 {
		t.Fatalf("%q: %v", out, err)
	}
	if connect < 0.2 {
		t.Errorf("connected after %.3f s, before the latency was over", connect)
	}
	// A second up, half a second down, a round trip; the first piece does not wait.
	if d := total - connect; d < 0.95+0.45+0.2 {
		t.Errorf("200 kB up at 200 kB/s and down at 400 kB/s took %.3f s", d)
	}
	began := time.Now()
	s.want(exe+" client udp "+udp+" 1000", " 0")
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("an answer by UDP after %v", d)
	}
	s.set(bus.Conditions{})
	s.want(exe+" client udp "+udp+" 1000", " 0")
}
