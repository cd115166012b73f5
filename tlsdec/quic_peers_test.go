package tlsdec

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"clipper/bus"
	"github.com/quic-go/quic-go"
)

// quicTalk is what the peers of quicTrace do.
type quicTalk struct {
	client, server *tls.Config
	clientQUIC     quic.Config
	versions       []quic.Version // of the server
	retry          bool           // the server makes the client prove its address
	streams        int
	up, down       int // bytes of each stream
	connections    int // one after the other, over the same sockets; 0: 1
	// fate says how often the nth datagram of a direction reaches its receiver, and
	// later puts it behind the next one.
	fate func(d bus.Dir, n int) (copies int, later bool)
}

// quicContent is what a stream carries.
func quicContent(stream uint64, d bus.Dir, n int) []byte {
	return text(n, byte(stream*2)+byte(d)+1)
}

// quicTrace lets a client and a server of quic-go talk through a relay that records the
// datagrams it passes on. The first half of the streams are opened by the client, the
// others by the server, which answers what it gets with its own.
func quicTrace(t testing.TB, k quicTalk) *trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := new(keyLog)
	k.client.KeyLogWriter, k.client.InsecureSkipVerify, k.client.ServerName = log, true, "example.test"
	k.client.NextProtos, k.server.NextProtos = []string{"test"}, []string{"test"}
	k.server.Certificates = []tls.Certificate{testKeys().ecdsa}

	serverSocket, relaySocket, clientSocket := udpSocket(t), udpSocket(t), udpSocket(t)
	r := newUDPRecorder()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		r.relayUDP(relaySocket, serverSocket.LocalAddr(), k.fate)
	}()

	server := &quic.Transport{Conn: serverSocket}
	if k.retry {
		server.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	listener, err := server.Listen(k.server, &quic.Config{Allow0RTT: true, Versions: k.versions, MaxIdleTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		for {
			c, err := listener.Accept(ctx)
			if err != nil {
				return // closed
			}
			err = quicPeer(ctx, c, &k, bus.ServerToClient)
			if err == nil {
				<-c.Context().Done()
			}
			served <- err
		}
	}()
	client := &quic.Transport{Conn: clientSocket}
	for range max(k.connections, 1) {
		c, err := client.DialEarly(ctx, relaySocket.LocalAddr(), k.client, &k.clientQUIC)
		if err != nil {
			t.Fatal(err)
		}
		if err := quicPeer(ctx, c, &k, bus.ClientToServer); err != nil {
			t.Fatal(err)
		}
		c.CloseWithError(7, "enough")
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	listener.Close()
	client.Close()
	server.Close()
	relaySocket.Close()
	<-relayed
	tr := r.endUDP()
	tr.secrets = log.secrets(t)
	return tr
}

// newUDPRecorder records a flow of datagrams.
func newUDPRecorder() *recorder {
	r := &recorder{}
	payload, _ := json.Marshal(bus.ConnOpen{Flow: bus.Flow{Transport: "udp",
		Client: netip.MustParseAddrPort("10.0.2.100:40000"), Server: netip.MustParseAddrPort("192.0.2.1:443")}})
	r.add(bus.Record{Type: bus.Open, Payload: payload})
	return r
}

func (r *recorder) endUDP() *trace {
	payload, _ := json.Marshal(bus.ConnEnd{Reason: bus.EndIdle})
	r.add(bus.Record{Type: bus.End, Payload: payload})
	for i := range r.trace.records {
		x := &r.trace.records[i]
		x.Layer, x.Offset, x.Pos = bus.UDP, 0, uint64(i+1)
	}
	return &r.trace
}

func udpSocket(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// relayUDP passes datagrams on until its socket is closed.
func (r *recorder) relayUDP(s *net.UDPConn, server net.Addr, fate func(bus.Dir, int) (int, bool)) {
	var client net.Addr
	var count [2]int
	var held [2][]byte
	buf := make([]byte, 64<<10)
	for {
		n, from, err := s.ReadFrom(buf)
		if err != nil {
			return
		}
		d, to := bus.ClientToServer, server
		if from.String() == server.String() {
			d, to = bus.ServerToClient, client
		} else {
			client = from
		}
		copies, later := 1, false
		if fate != nil {
			copies, later = fate(d, count[d])
		}
		count[d]++
		pass := func(b []byte) {
			r.data(d, b)
			s.WriteTo(b, to)
		}
		if later && held[d] == nil {
			held[d] = bytes.Clone(buf[:n])
			continue
		}
		for range copies {
			pass(buf[:n])
		}
		if held[d] != nil {
			pass(held[d])
			held[d] = nil
		}
	}
}

// quicPeer does the part of one peer.
func quicPeer(ctx context.Context, c *quic.Conn, k *quicTalk, d bus.Dir) error {
	errs := make(chan error, k.streams)
	for i := range k.streams {
		go func() {
			open := c.AcceptStream
			if byClient := i < (k.streams+1)/2; byClient == (d == bus.ClientToServer) {
				open = c.OpenStreamSync
			}
			s, err := open(ctx)
			if err == nil {
				err = quicExchange(s, d, k)
			}
			errs <- err
		}()
	}
	if err := firstError(errs, k.streams); err != nil {
		return err
	}
	return quicDone(ctx, c, d == bus.ClientToServer)
}

// quicDone tells the server that the client has got everything, and the client the same.
func quicDone(ctx context.Context, c *quic.Conn, client bool) error {
	for _, mine := range []bool{client, !client} {
		if mine {
			s, err := c.OpenUniStreamSync(ctx)
			if err != nil {
				return err
			}
			if _, err := s.Write([]byte("done")); err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			continue
		}
		s, err := c.AcceptUniStream(ctx)
		if err != nil {
			return err
		}
		if _, err = io.ReadAll(s); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs chan error, n int) (err error) {
	for range n {
		if e := <-errs; err == nil {
			err = e
		}
	}
	return err
}

// quicExchange sends one direction of a stream and receives the other.
func quicExchange(s *quic.Stream, d bus.Dir, k *quicTalk) error {
	sizes := [2]int{k.up, k.down}
	var wg sync.WaitGroup
	var sent error
	wg.Go(func() {
		if _, sent = s.Write(quicContent(uint64(s.StreamID()), d, sizes[d])); sent == nil {
			sent = s.Close()
		}
	})
	got, err := io.ReadAll(s)
	wg.Wait()
	switch {
	case err != nil:
		return err
	case !bytes.Equal(got, quicContent(uint64(s.StreamID()), 1-d, sizes[1-d])):
		return fmt.Errorf("stream %d: the peers do not understand each other", s.StreamID())
	}
	return sent
}

// quicStreamsOf are the streams that a decoder gave for one connection.
type quicStreamsOf struct {
	data  map[uint64]*[2][]byte
	ended map[uint64]*[2]bool
	gaps  int
	info  *bus.TLSInfo
	close []bus.Record
	ends  []bus.EndReason
}

func (o *output) quic(t testing.TB) (ids []bus.ConnID, conns map[bus.ConnID]*quicStreamsOf) {
	conns = map[bus.ConnID]*quicStreamsOf{}
	for i := range o.records {
		r := &o.records[i]
		c := conns[r.Conn]
		if r.Type == bus.Open {
			if c != nil {
				t.Fatalf("connection %v was opened twice", r.Conn)
			}
			ids = append(ids, r.Conn)
			conns[r.Conn] = &quicStreamsOf{data: map[uint64]*[2][]byte{}, ended: map[uint64]*[2]bool{}}
			continue
		}
		if r.Type == bus.EOS {
			continue
		}
		if c == nil || len(c.ends) > 0 {
			t.Fatalf("record %d of connection %v, which is not open", r.Type, r.Conn)
		}
		if r.Stream != bus.AllStreams && c.data[r.Stream] == nil {
			c.data[r.Stream], c.ended[r.Stream] = new([2][]byte), new([2]bool)
		}
		switch r.Type {
		case bus.Data, bus.Gap, bus.Fin:
			b := &c.data[r.Stream][r.Dir]
			if r.Offset != uint64(len(*b)) || c.ended[r.Stream][r.Dir] {
				t.Fatalf("stream %d: type %d at %d after %d bytes", r.Stream, r.Type, r.Offset, len(*b))
			}
			switch r.Type {
			case bus.Data:
				*b = append(*b, r.Payload...)
			case bus.Gap:
				c.gaps++
				*b = append(*b, make([]byte, r.Aux)...)
			case bus.Fin:
				c.ended[r.Stream][r.Dir] = true
			}
		case bus.Reset:
			c.close = append(c.close, *r)
		case bus.Info:
			c.info = new(bus.TLSInfo)
			if err := json.Unmarshal(r.Payload, c.info); err != nil {
				t.Fatal(err)
			}
		case bus.End:
			var e bus.ConnEnd
			if err := json.Unmarshal(r.Payload, &e); err != nil {
				t.Fatal(err)
			}
			c.ends = append(c.ends, e.Reason)
		}
	}
	return ids, conns
}

// check compares with what the peers said.
func (c *quicStreamsOf) check(t testing.TB, k quicTalk) {
	t.Helper()
	sizes := [2]int{k.up, k.down}
	n := 0
	for id, x := range c.data {
		if len(x[0]) == 0 && len(x[1]) == 0 {
			continue // records without a stream are under 0
		}
		if uni, d := quicUni(id); uni {
			if string(x[d]) != "done" || !c.ended[id][d] {
				t.Errorf("stream %d: %q, ended %v", id, x[d], c.ended[id][d])
			}
			continue
		}
		n++
		for d := range x {
			if want := quicContent(id, bus.Dir(d), sizes[d]); !bytes.Equal(x[d], want) || !c.ended[id][d] {
				t.Errorf("stream %d, dir %d: %d bytes, ended %v; want %d", id, d, len(x[d]), c.ended[id][d], len(want))
			}
		}
	}
	if n != k.streams {
		t.Errorf("%d streams, want %d", n, k.streams)
	}
	if c.gaps != 0 {
		t.Errorf("%d gaps", c.gaps)
	}
}

// checkEarly compares what did not go as 0-RTT, whose secret Go does not log.
func (c *quicStreamsOf) checkEarly(t testing.TB, k quicTalk) {
	t.Helper()
	for id, x := range c.data {
		if uni, _ := quicUni(id); uni {
			continue
		}
		if want := quicContent(id, bus.ServerToClient, k.down); !bytes.Equal(x[1], want) {
			t.Errorf("stream %d: %d bytes from the server, want %d", id, len(x[1]), len(want))
		}
	}
}

func quicTalks() map[string]quicTalk {
	drop := func(d bus.Dir, n int) (int, bool) {
		switch n % 10 {
		case 3:
			return 0, false
		case 5:
			return 1, true
		case 7:
			return 2, false
		}
		return 1, false
	}
	m := map[string]quicTalk{
		"version 1":   {},
		"version 2":   {clientQUIC: quic.Config{Versions: []quic.Version{quic.Version2}}},
		"negotiation": {clientQUIC: quic.Config{Versions: []quic.Version{quic.Version2, quic.Version1}}, versions: []quic.Version{quic.Version1}},
		"retry":       {retry: true},
		"hello retry": {client: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, server: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}},
		"one stream":  {streams: 1, up: 500, down: 40000},
		"key update":  {streams: 1, up: 1, down: 2 << 20},
		"losses":      {fate: drop, streams: 9, up: 9000, down: 70000},
		"connections": {connections: 3},
		"0-RTT":       {connections: 2, client: &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1)}},
	}
	for name, k := range m {
		if k.client == nil {
			k.client = &tls.Config{}
		}
		if k.server == nil {
			k.server = &tls.Config{}
		}
		if k.streams == 0 {
			k.streams, k.up, k.down = 20, 1000, 5000
		}
		m[name] = k
	}
	return m
}

// TestQUICPeers: what a client and a server of quic-go say is what comes out, whatever happens
// to the datagrams on their way.
func TestQUICPeers(t *testing.T) {
	for name, k := range quicTalks() {
		t.Run(name, func(t *testing.T) {
			tr := quicTrace(t, k)
			out := decode(t, tr)
			if len(out.verdicts)+len(out.doubts) > 0 {
				t.Errorf("verdicts %v", out.verdicts)
			}
			ids, conns := out.quic(t)
			if len(ids) != max(k.connections, 1) || ids[0] != traceConn {
				t.Fatalf("connections %v", ids)
			}
			for i, id := range ids {
				c := conns[id]
				if name == "0-RTT" && i == 1 {
					c.checkEarly(t, k)
				} else {
					c.check(t, k)
				}
				reason := bus.EndReused
				if i == len(ids)-1 {
					reason = bus.EndIdle
				}
				if !slices.Equal(c.ends, []bus.EndReason{reason}) {
					t.Errorf("ended by %v", c.ends)
				}
				if name == "losses" && len(c.close) == 0 {
					continue // it was lost, too
				}
				if len(c.close) != 1 || c.close[0].Stream != bus.AllStreams || c.close[0].Aux != 7 || c.close[0].Dir != bus.ClientToServer || string(c.close[0].Payload) != "enough" {
					t.Errorf("closed by %+v", c.close)
				}
				i := c.info
				if i == nil || i.Version != "TLS 1.3" || i.ALPN != "test" || i.SNI != "example.test" || i.Finished == 0 || i.PID != 4711 ||
					i.JA4 == "" || i.JA4[0] != 'q' || len(i.Certificates) != 1 && !i.Resumed {
					t.Errorf("facts %+v", i)
				}
			}
			if name == "key update" {
				f := newFeeder()
				f.keys(tr.secrets...)
				f.tcp(tr.records[:len(tr.records)-1]...)
				if q := f.d.(*decoder).conns[traceConn].quic; q.sides[0].before == nil || q.sides[1].before == nil {
					t.Error("the peers did not update their keys")
				}
			}
			if name == "0-RTT" {
				if i := conns[ids[1]].info; !i.Resumed || !i.EarlyData {
					t.Errorf("resumed %v, early data %v", i.Resumed, i.EarlyData)
				}
			}
		})
	}
}

// TestQUICUnknownVersion: a version that nobody knows is what a connection may begin
// with that becomes one of version 1.
func TestQUICUnknownVersion(t *testing.T) {
	k := quicTalks()["version 1"]
	tr := quicTrace(t, k)
	first := tr.records[1]
	first.Payload = append([]byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0}, make([]byte, 1200)...)
	tr.records = slices.Insert(tr.records, 1, first)
	out := decode(t, tr)
	_, conns := out.quic(t)
	conns[traceConn].check(t, k)
	if len(out.doubts) != 1 || len(out.verdicts) != 0 {
		t.Errorf("verdicts %v, preliminary %v", out.verdicts, out.doubts)
	}
	tr.records = append(tr.records[:2:2], tr.records[len(tr.records)-1])
	out = decode(t, tr)
	if len(out.verdicts) != 1 || out.verdicts[0].Code != bus.VerdictVersion {
		t.Errorf("verdicts %v", out.verdicts)
	}
}

// TestQUICNoSecrets: a connection without secrets gets a verdict, as one whose
// secrets are those of another.
func TestQUICNoSecrets(t *testing.T) {
	tr, other := quicTrace(t, quicTalks()["version 1"]), quicTrace(t, quicTalks()["version 1"])
	secrets := tr.secrets
	tr.secrets = nil
	if out := decode(t, tr); len(out.verdicts) != 1 || out.verdicts[0].Code != bus.VerdictNoSecret || len(out.doubts) > 1 {
		t.Errorf("verdicts %v", out.verdicts)
	}
	for i := range secrets {
		wrong := other.secrets[i]
		wrong.ClientRandom = secrets[i].ClientRandom
		tr.secrets = append(tr.secrets, wrong)
	}
	if out := decode(t, tr); len(out.verdicts) != 1 || out.verdicts[0].Code != bus.VerdictDamaged {
		t.Errorf("verdicts %v", out.verdicts)
	}
}

// TestQUICWithoutHandshakeSecrets: a key log with the traffic secrets alone is enough for what
// the streams carry.
func TestQUICWithoutHandshakeSecrets(t *testing.T) {
	k := quicTalks()["version 1"]
	tr := quicTrace(t, k)
	tr.secrets = slices.DeleteFunc(tr.secrets, func(s bus.TLSSecret) bool {
		return parseLabel(s.Label) == labelClientHS || parseLabel(s.Label) == labelServerHS
	})
	out := decode(t, tr)
	_, conns := out.quic(t)
	conns[traceConn].check(t, k)
	if i := conns[traceConn].info; i.ALPN != "test" || len(out.verdicts) > 0 {
		t.Errorf("facts %+v, verdicts %v", i, out.verdicts)
	}
}

// TestQUICHoles: datagrams that the capture missed are gaps, and the rest is there.
func TestQUICHoles(t *testing.T) {
	k := quicTalks()["version 1"]
	k.down = 50_000
	tr := quicTrace(t, k)
	n := 0
	tr.records = slices.DeleteFunc(tr.records, func(r bus.Record) bool {
		n++
		return r.Type == bus.Data && r.Dir == bus.ServerToClient && n > 40 && n%29 == 0
	})
	out := decode(t, tr)
	_, conns := out.quic(t)
	c := conns[traceConn]
	if c.gaps == 0 || len(out.verdicts) > 0 {
		t.Errorf("%d gaps, verdicts %v", c.gaps, out.verdicts)
	}
	for id, x := range c.data {
		want := quicContent(id, bus.ServerToClient, k.down)
		if uni, _ := quicUni(id); uni {
			continue
		}
		same := 0
		for i := range min(len(want), len(x[1])) {
			if x[1][i] == want[i] {
				same++
			}
		}
		if len(x[1]) > len(want) || same < len(x[1])/2 {
			t.Errorf("stream %d: %d bytes of %d, of which %d are right", id, len(x[1]), len(want), same)
		}
	}
}
