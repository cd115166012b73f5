package httpdec

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/bus"
)

// recorder makes the records that the stages before would make of connections.
type recorder struct {
	mu      sync.Mutex
	records []bus.Record
	conns   bus.ConnID
}

// wrap records a client's connection.
func (r *recorder) wrap(c net.Conn) net.Conn {
	r.mu.Lock()
	r.conns++
	id := r.conns
	r.mu.Unlock()
	client, server := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())
	r.add(bus.Record{Type: bus.Open, Conn: id, Payload: mustJSON(bus.ConnOpen{Flow: bus.Flow{Transport: "tcp", Client: client, Server: server}})})
	r.add(bus.Record{Type: bus.Established, Conn: id})
	return &recordedConn{Conn: c, r: r, id: id}
}

func (r *recorder) add(rec bus.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Layer, rec.Time, rec.Pos = bus.Plain, time.Now().UnixNano(), uint64(len(r.records)+1)
	r.records = append(r.records, rec)
}

func (r *recorder) dial(network, addr string) (net.Conn, error) {
	c, err := net.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	return r.wrap(c), nil
}

// recordedConn holds the recorder while it writes, so that no answer is recorded
// before what it answers.
type recordedConn struct {
	net.Conn
	r    *recorder
	id   bus.ConnID
	once sync.Once
}

func (c *recordedConn) Write(p []byte) (int, error) {
	c.r.add(bus.Record{Type: bus.Data, Conn: c.id, Payload: bytes.Clone(p)})
	return c.Conn.Write(p)
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.r.add(bus.Record{Type: bus.Data, Dir: bus.ServerToClient, Conn: c.id, Payload: bytes.Clone(p[:n])})
	}
	if err == io.EOF {
		c.r.add(bus.Record{Type: bus.Fin, Dir: bus.ServerToClient, Conn: c.id})
	}
	return n, err
}

func (c *recordedConn) Close() error {
	c.once.Do(func() {
		c.r.add(bus.Record{Type: bus.Fin, Conn: c.id})
		c.r.add(bus.Record{Type: bus.End, Conn: c.id, Payload: mustJSON(bus.ConnEnd{Reason: bus.EndFIN})})
	})
	return c.Conn.Close()
}

// seen is an exchange as one side or the decoder saw it.
type seen struct {
	request, response []string // head lines, sorted
	sent, received    string   // hashes of the bodies
	failure           string
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return fmt.Sprintf("%d bytes %s", len(b), hex.EncodeToString(h[:6]))
}

// decoded folds the decoder's output into exchanges by the value of the request
// field X-Id, and checks the order of the events.
func decoded(t *testing.T, records []bus.Record) map[string]*seen {
	type open struct {
		seen
		id             string
		bodies         [2]bytes.Buffer
		ended          [2]bool
		request, final bool
	}
	exchanges := map[[2]uint64]*open{}
	result := map[string]*seen{}
	announced := map[bus.ConnID]bool{}
	s := New()
	step := func(r *bus.Record) {
		key := [2]uint64{uint64(r.Conn), r.Stream}
		x := exchanges[key]
		if r.Layer == bus.Body {
			if r.Type != bus.EOS {
				if x == nil || uint64(x.bodies[r.Dir].Len()) != r.Offset {
					t.Errorf("body bytes %v at %d out of place", key, r.Offset)
					return
				}
				x.bodies[r.Dir].Write(r.Payload)
			}
			return
		}
		e := r.Event.(*bus.Event)
		if e.Type == bus.EventConnection {
			announced[e.Conn] = true
		}
		if e.Stream == 0 {
			return
		}
		if !announced[e.Conn] {
			t.Errorf("event %s before its connection event", e.Type)
		}
		if e.Type == bus.EventRequest {
			if x != nil {
				t.Errorf("two requests %v", key)
			}
			x = &open{request: true}
			exchanges[key] = x
			x.seen.request = append(x.seen.request, e.Request.Method+" "+e.Request.URL)
			for _, f := range e.Request.Headers {
				if f.Name[0] != ':' {
					x.seen.request = append(x.seen.request, strings.ToLower(f.Name)+": "+f.Value)
				}
				if strings.EqualFold(f.Name, "x-id") {
					x.id = f.Value
				}
			}
			return
		}
		if x == nil {
			t.Errorf("%s of an unknown exchange %v", e.Type, key)
			return
		}
		switch e.Type {
		case bus.EventResponse:
			if x.final {
				t.Errorf("two responses %v", key)
			}
			x.final = true
			x.seen.response = append(x.seen.response, fmt.Sprint(e.Response.Status))
			for _, f := range e.Response.Headers {
				if f.Name[0] != ':' {
					x.seen.response = append(x.seen.response, strings.ToLower(f.Name)+": "+f.Value)
				}
			}
		case bus.EventEnd:
			if x.ended[e.Dir] {
				t.Errorf("two ends %v", key)
			}
			x.ended[e.Dir] = true
			if e.End.Decoded != uint64(x.bodies[e.Dir].Len()) {
				t.Errorf("end says %d bytes, %d came", e.End.Decoded, x.bodies[e.Dir].Len())
			}
			if e.End.Problem != "" {
				t.Errorf("problem %v: %s", key, e.End.Problem)
			}
		case bus.EventFailed:
			x.failure = e.Failure.Code
		}
		if x.ended[0] && x.ended[1] || x.failure != "" {
			x.sent, x.received = hash(x.bodies[0].Bytes()), hash(x.bodies[1].Bytes())
			slices.Sort(x.seen.request)
			slices.Sort(x.seen.response)
			result[x.id] = &x.seen
			delete(exchanges, key)
			exchanges[key] = nil
		}
	}
	for i := range records {
		s.Process(&records[i], step)
	}
	s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, step)
	return result
}

// testServer writes down what it sees under the X-Id of the request.
type testServer struct {
	mu   sync.Mutex
	seen map[string]*seen
}

func (s *testServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	x := &seen{sent: hash(body)}
	scheme := "http"
	x.request = append(x.request, r.Method+" "+scheme+"://"+r.Host+r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			x.request = append(x.request, strings.ToLower(name)+": "+v)
		}
	}
	slices.Sort(x.request)
	size := 0
	fmt.Sscan(r.URL.Query().Get("size"), &size)
	rng := rand.New(rand.NewPCG(uint64(size), 1))
	answer := make([]byte, size)
	for i := range answer {
		answer[i] = "abcdefgh"[rng.IntN(8)]
	}
	x.received = hash(answer)
	if r.Method == "HEAD" {
		x.received = hash(nil)
	}
	s.mu.Lock()
	s.seen[r.Header.Get("X-Id")] = x
	s.mu.Unlock()
	if r.URL.Query().Get("hints") != "" {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
	}
	if r.URL.Query().Get("gzip") != "" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(answer)
		z.Close()
		return
	}
	w.Write(answer)
}

func testPeers(t *testing.T, protocols func(*http.Protocols)) {
	r := &recorder{}
	handler := &testServer{seen: map[string]*seen{}}
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.Protocols = new(http.Protocols)
	protocols(srv.Config.Protocols)
	srv.Start()
	tr := &http.Transport{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) { return r.dial(network, addr) }, Protocols: new(http.Protocols), DisableCompression: true, MaxConnsPerHost: 3}
	protocols(tr.Protocols)
	client := &http.Client{Transport: tr}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 2))
			for i := range 30 {
				method := []string{"GET", "POST", "HEAD", "PUT"}[rng.IntN(4)]
				var body io.Reader
				if method == "POST" || method == "PUT" {
					b := bytes.Repeat([]byte("0123456789"), rng.IntN(20_000))
					if body = bytes.NewReader(b); rng.IntN(2) == 0 {
						body = io.MultiReader(body) // no Content-Length
					}
				}
				query := fmt.Sprintf("?size=%d", rng.IntN(100_000))
				query += []string{"", "&hints=1", "&gzip=1"}[rng.IntN(3)]
				q, err := http.NewRequest(method, srv.URL+"/p"+query, body)
				if err != nil {
					t.Error(err)
					return
				}
				q.Header.Set("X-Id", fmt.Sprintf("%d-%d", worker, i))
				q.Header["X-Double"] = []string{"one", "two"}
				resp, err := client.Do(q)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	tr.CloseIdleConnections()
	srv.Close()
	got := decoded(t, r.records)
	if len(got) != len(handler.seen) {
		t.Errorf("decoded %d exchanges, the server saw %d", len(got), len(handler.seen))
	}
	for id, want := range handler.seen {
		x := got[id]
		if x == nil {
			t.Errorf("exchange %s is missing", id)
			continue
		}
		// Go's server moves some fields from the header.
		x.request = slices.DeleteFunc(x.request, func(s string) bool {
			return strings.HasPrefix(s, "host: ") || strings.HasPrefix(s, "transfer-encoding: ")
		})
		if !slices.Equal(x.request, want.request) || x.sent != want.sent || x.received != want.received || x.failure != "" {
			t.Errorf("exchange %s\n got %+v\nwant %+v", id, *x, *want)
		}
	}
}

func TestPeerHTTP1(t *testing.T) { testPeers(t, func(p *http.Protocols) { p.SetHTTP1(true) }) }
func TestPeerHTTP2(t *testing.T) {
	testPeers(t, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
}
