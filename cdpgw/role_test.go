package cdpgw

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/cdpgw/internal/fixture"

	"github.com/rs/zerolog"
)

// beRole makes the test binary the role.
const beRole = "CDPGW_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(beRole) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// busSession is a bus with the fixtures on it, and what a spawner keeps for the gateway.
type busSession struct {
	t        *testing.T
	dir      string
	access   string
	listener *os.File
	addr     string
	status   *bufio.Scanner
	statusIn *os.File
}

func newBusSession(t *testing.T) *busSession {
	t.Helper()
	s := &busSession{t: t, dir: t.TempDir()}
	server, err := natsbus.StartServer(natsbus.ServerConfig{StoreDir: filepath.Join(s.dir, "bus"), Session: "test", Log: zerolog.Nop(), StreamBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	s.access = filepath.Join(s.dir, "access")
	if err := server.Access().WithoutKeys().WriteFile(s.access); err != nil {
		t.Fatal(err)
	}
	s.publish(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.addr = l.Addr().String()
	if s.listener, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.status, s.statusIn = bufio.NewScanner(r), w
	t.Cleanup(func() { s.listener.Close(); r.Close(); w.Close() })
	return s
}

func (s *busSession) publish(server *natsbus.Server) {
	ctx := s.t.Context()
	b, err := natsbus.Connect(ctx, server.InProcess(), "test")
	if err != nil {
		s.t.Fatal(err)
	}
	defer b.Close()
	open := map[bus.Layer]*natsbus.Publisher{}
	for _, l := range []bus.Layer{bus.Proc, bus.HTTP, bus.Body, bus.Plain} {
		if open[l], err = b.OpenPublisher(ctx, l, 0); err != nil {
			s.t.Fatal(err)
		}
		defer open[l].Close(ctx)
	}
	for _, r := range []*bus.Record{
		{Layer: bus.Plain, Type: bus.Data, Conn: 0x99, Payload: []byte("not this one")},
		{Layer: bus.Plain, Type: bus.Data, Conn: 0x15, Time: fixture.Base, Payload: []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f")},
		{Layer: bus.Plain, Type: bus.Gap, Conn: 0x15, Dir: bus.ServerToClient, Aux: 7, Time: fixture.Base},
		{Layer: bus.Plain, Type: bus.Data, Conn: 0x15, Dir: bus.ServerToClient, Offset: 7, Time: fixture.Base + 1e6, Payload: []byte("N")},
	} {
		if err := open[bus.Plain].Publish(ctx, r); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, n := range []string{"h2-get", "h1-post", "media", "verdicts"} {
		steps, err := fixture.Read(filepath.Join("testdata", n+".jsonl"))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, step := range steps {
			if step.Record == nil {
				continue
			}
			if err := open[step.Record.Layer].Publish(ctx, step.Record); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// gateway starts the role.
func (s *busSession) gateway() *exec.Cmd {
	s.t.Helper()
	o, _ := json.Marshal(Options{ListenFD: 3, StatusFD: 4, SecretPath: secret, Discovery: true, Title: "curl", AppPID: 4242, SessionDir: s.dir})
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), beRole+"=1", natsbus.AccessEnv+"="+s.access, natsbus.OptionsEnv+"="+string(o))
	c.ExtraFiles = []*os.File{s.listener, s.statusIn}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c
}

func (s *busSession) nextStatus() Status {
	s.t.Helper()
	if !s.status.Scan() {
		s.t.Fatal("the status pipe ended: ", s.status.Err())
	}
	var st Status
	if err := json.Unmarshal(s.status.Bytes(), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// A gateway that is killed and started again has the same address and the same
// history; SIGTERM ends it in order.
func TestRole(t *testing.T) {
	s := newBusSession(t)
	g := s.gateway()
	if st := s.nextStatus(); st.URL != "http://"+s.addr+"/" || st.Clients != 0 {
		t.Errorf("status: %+v", st)
	}
	history := func() (lines []string) {
		p := dialAddr(t, s.addr, "/devtools/page/"+secret)
		defer p.ws.Close()
		if st := s.nextStatus(); st.Clients != 1 || !st.EverAttached {
			t.Errorf("status: %+v", st)
		}
		p.call("Network.enable", nil)
		for finished := 0; finished < 12; {
			m := p.read()
			lines = append(lines, m.Method+string(m.Params))
			if m.Method == "Network.loadingFinished" || m.Method == "Network.loadingFailed" {
				finished++
			}
		}
		if r := p.call("Network.getResponseBody", map[string]any{"requestId": "000000000000000a.1"}); !strings.Contains(string(r.Result), "Grace") {
			t.Errorf("body: %+v", r)
		}
		note := p.call("Network.getResponseBody", map[string]any{"requestId": "0000000000000015.c"})
		if note.Error == nil || !strings.Contains(note.Error.Message, "00 00 00 08 04 d2 16 2f") || !strings.Contains(note.Error.Message, "7 bytes were not captured") ||
			!strings.Contains(note.Error.Message, "<- server to client  at 7: 1 bytes") || strings.Contains(note.Error.Message, "not this one") {
			t.Errorf("bytes of a connection that is not HTTP: %+v", note.Error)
		}
		return lines
	}
	before := history()
	if st := s.nextStatus(); st.Clients != 0 {
		t.Errorf("status after the client left: %+v", st)
	}
	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.Wait()
	g = s.gateway()
	s.nextStatus()
	after := history()
	// The layers are independent streams: what waits for its process may come
	// after what does not.
	slices.Sort(before)
	slices.Sort(after)
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("the history differs:\n%s\n\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	g.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "devtools-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
