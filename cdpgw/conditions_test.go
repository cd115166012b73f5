package cdpgw

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"clipper/bus"
)

// network remembers what a gateway asked of it.
type network struct {
	t     testing.TB
	asked chan bus.Conditions
}

func newNetwork(t testing.TB) *network { return &network{t, make(chan bus.Conditions, 100)} }

func (n *network) apply(c bus.Conditions) error {
	if err := c.Check(); err != nil {
		return err
	}
	n.asked <- c
	return nil
}

func (n *network) want(want string) {
	n.t.Helper()
	select {
	case c := <-n.asked:
		if b, _ := json.Marshal(c); string(b) != want {
			n.t.Errorf("asked for %s\nwant      %s", b, want)
		}
	case <-time.After(time.Minute):
		n.t.Fatalf("nothing is asked, want %s", want)
	}
}

type params = map[string]any

// What the frontend sends becomes what the network gets, and ends with the
// client that asked for it.
func TestConditions(t *testing.T) {
	n := newNetwork(t)
	g := start(t, Options{Conditions: n.apply})
	a, b := attach(t, g), attach(t, g)
	ok := func(p *peer, method string, v any) string {
		t.Helper()
		r := p.call(method, v)
		if r.Error != nil {
			t.Fatalf("%s: %v", method, r.Error)
		}
		return string(r.Result)
	}
	// As every frontend does when it attaches: nothing changes.
	none := params{"offline": false, "matchedNetworkConditions": []any{}}
	ok(a, "Network.setBlockedURLs", params{"urlPatterns": []any{}})
	ok(a, "Network.emulateNetworkConditionsByRule", none)

	slow := params{"urlPattern": "", "latency": 400, "downloadThroughput": 50_000.4, "uploadThroughput": 0}
	if ids := ok(a, "Network.emulateNetworkConditionsByRule", params{"offline": false, "matchedNetworkConditions": []any{slow}}); ids != `{"ruleIds":["1"]}` {
		t.Error(ids)
	}
	n.want(`{"limits":[{"latency":400000000,"download":50001}]}`)
	ok(b, "Network.emulateNetworkConditions", params{"offline": false, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 9})
	n.want(`{"limits":[{"latency":400000000,"download":50001,"upload":9}]}`)
	ok(a, "Network.emulateNetworkConditionsByRule", none)
	n.want(`{"limits":[{"latency":20000000,"upload":9}]}`)
	ok(a, "Network.emulateNetworkConditionsByRule", params{"offline": true, "matchedNetworkConditions": []any{params{"urlPattern": "", "offline": true}}})
	n.want(`{"offline":true,"limits":[{"latency":20000000,"upload":9}]}`)
	b.ws.Close()
	n.want(`{"offline":true}`)
	ok(a, "Network.emulateNetworkConditionsByRule", params{"offline": false, "matchedNetworkConditions": []any{
		params{"urlPattern": "*://slow.test", "latency": 1}, params{"urlPattern": "*://x.test/path", "latency": 1}, slow}})
	n.want(`{"limits":[{"host":"slow.test","ports":[80,443],"latency":1000000},{"latency":400000000,"download":50001}],"impossible":["*://x.test/path"]}`)
	ok(a, "Network.emulateNetworkConditionsByRule", none)
	n.want(`{}`)
	ok(a, "Network.setBlockedURLs", params{"urls": []string{"*ads.test*"}})
	n.want(`{"blocking":[{"host":"*ads.test","block":true}]}`)
	a.ws.Close()
	n.want(`{}`)
}

// Connections whose host became known by decoding are named one by one, also
// those that come later.
func TestConditionsOfOpenConnections(t *testing.T) {
	n := newNetwork(t)
	g := start(t, Options{Conditions: n.apply})
	open := func(conn bus.ConnID, client, name, url string) {
		c := bus.Connection{Flow: flow(client, "192.0.2.1:443")}
		if name != "" {
			c.TLS = &bus.TLSInfo{SNI: name}
		}
		g.Process(record(bus.Event{Type: bus.EventConnection, Conn: conn, Connection: &c}))
		if url != "" {
			g.Process(record(bus.Event{Type: bus.EventRequest, Conn: conn, Stream: 1, Request: &bus.Request{Method: "GET", URL: url}}))
		}
	}
	open(1, "10.0.2.15:1", "api.test", "")
	open(2, "10.0.2.15:2", "", "http://api.test:443/x")
	open(3, "10.0.2.15:3", "other.test", "https://other.test/")
	open(4, "10.0.2.15:4", "api.test", "")
	g.Process(record(bus.Event{Type: bus.EventClosed, Conn: 4, Closed: &bus.ConnEnd{Reason: bus.EndFIN}}))
	a := attach(t, g)
	a.call("Network.setBlockedURLs", params{"urlPatterns": []any{params{"urlPattern": "*://api.test", "block": true}}})
	one, two := `{"transport":"tcp","client":"10.0.2.15:1","server":"192.0.2.1:443"}`, `{"transport":"tcp","client":"10.0.2.15:2","server":"192.0.2.1:443"}`
	n.want(`{"blocking":[{"host":"api.test","ports":[80,443],"flows":[` + one + `,` + two + `],"block":true}]}`)
	open(5, "10.0.2.15:5", "api.test", "")
	n.want(`{"blocking":[{"host":"api.test","ports":[80,443],"flows":[` + one + `,` + two + `,{"transport":"tcp","client":"10.0.2.15:5","server":"192.0.2.1:443"}],"block":true}]}`)
}

func TestConditionsRefused(t *testing.T) {
	offline := params{"offline": true}
	recorded := attach(t, start(t, Options{}))
	if r := recorded.call("Network.emulateNetworkConditions", offline); r.Error == nil {
		t.Error("the network of a recording is changed")
	}
	if r := recorded.call("Network.emulateNetworkConditionsByRule", params{}); r.Error != nil {
		t.Error(r.Error)
	}
	broken := attach(t, start(t, Options{Conditions: func(bus.Conditions) error { return errors.New("no network") }}))
	if r := broken.call("Network.emulateNetworkConditions", offline); r.Error == nil || r.Error.Message != "no network" {
		t.Errorf("%+v", r.Error)
	}
	if r := broken.call("Network.emulateNetworkConditions", params{"latency": "x"}); r.Error == nil || r.Error.Code != codeParams {
		t.Errorf("%+v", r.Error)
	}
}

func flow(client, server string) bus.Flow {
	return bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort(client), Server: netip.MustParseAddrPort(server)}
}

func record(e bus.Event) *bus.Record {
	return &bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: e.Conn, Event: &e}
}
