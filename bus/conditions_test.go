package bus

import (
	"net/netip"
	"testing"
)

func TestTargetMatch(t *testing.T) {
	for _, c := range []struct {
		target Target
		name   string
		server string
		want   bool
	}{
		{Target{}, "", "192.0.2.1:443", true},
		{Target{Host: "*"}, "x.test", "192.0.2.1:443", true},
		{Target{Host: "api.test"}, "api.test", "192.0.2.1:443", true},
		{Target{Host: "api.test"}, "API.test.", "192.0.2.1:443", true},
		{Target{Host: "api.test"}, "xapi.test", "192.0.2.1:443", false},
		{Target{Host: "api.test"}, "", "192.0.2.1:443", false},
		{Target{Host: "*.test"}, "a.b.test", "192.0.2.1:443", true},
		{Target{Host: "*.test"}, "test", "192.0.2.1:443", false},
		{Target{Host: "a*b*c"}, "a-b-b-c", "192.0.2.1:443", true},
		{Target{Host: "a*b*c"}, "a-c-b", "192.0.2.1:443", false},
		{Target{Host: "192.0.2.1"}, "", "192.0.2.1:443", true},
		{Target{Host: "192.0.2.1"}, "name.test", "[::ffff:192.0.2.1]:443", true},
		{Target{Host: "::1"}, "", "[::1]:80", true},
		{Target{Host: "api.test", Ports: []uint16{80, 443}}, "api.test", "192.0.2.1:443", true},
		{Target{Host: "api.test", Ports: []uint16{80}}, "api.test", "192.0.2.1:443", false},
		{Target{Ports: []uint16{80}}, "", "192.0.2.1:80", true},
	} {
		if got := c.target.Match(c.name, netip.MustParseAddrPort(c.server)); got != c.want {
			t.Errorf("%v matches %q at %s: %v", c.target, c.name, c.server, got)
		}
	}
}

func TestConditionsCheck(t *testing.T) {
	good := Conditions{Limits: []Limit{{Latency: 1e9, Download: 1}}}
	if err := good.Check(); err != nil || good.Empty() {
		t.Error(err)
	}
	for _, c := range []Conditions{
		{Limits: []Limit{{Latency: -1}}}, {Limits: []Limit{{Latency: 61e9}}}, {Limits: []Limit{{Upload: -1}}},
		{Blocking: make([]BlockRule, maxRules+1)}, {Blocking: []BlockRule{{Target: Target{Flows: make([]Flow, maxFlows+1)}}}},
	} {
		if c.Check() == nil {
			t.Errorf("%.100v is accepted", c)
		}
	}
}
