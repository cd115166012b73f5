package natsbus

import (
	"encoding/json"
	"errors"
	"testing"

	"clipper/bus"
)

func TestConditions(t *testing.T) {
	s, up, tap := tapFixture(t)
	network, gateway := connect(t, s.Access(), "netd"), connect(t, s.Access(), "cdpgw")
	applied := make(chan bus.Conditions, 10)
	apply := func(c bus.Conditions) error { applied <- c; return nil }
	if err := network.ObeyConditions(apply); err != nil { // before there is a spawner
		t.Fatal(err)
	}
	offline := bus.Conditions{Offline: true}
	set := func(c bus.Conditions) error {
		if len(c.Limits) > 0 {
			return errors.New("not today")
		}
		return up.ApplyConditions(c)
	}
	if err := up.ServeConditions(set, func() bus.Conditions { return offline }); err != nil {
		t.Fatal(err)
	}
	if err := up.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.AskConditions(offline); err != nil {
		t.Fatal(err)
	}
	if c := <-applied; !c.Offline {
		t.Errorf("applied %+v", c)
	}
	if err := gateway.AskConditions(bus.Conditions{Limits: []bus.Limit{{Latency: 1}}}); err == nil || err.Error() != "not today" {
		t.Errorf("refused: %v", err)
	}
	if err := gateway.AskConditions(bus.Conditions{Limits: []bus.Limit{{Latency: -1}}}); err == nil {
		t.Error("a negative latency is accepted")
	}
	// The network that is started again learns what holds.
	if err := connect(t, s.Access(), "netd again").ObeyConditions(apply); err != nil {
		t.Fatal(err)
	}
	if c := <-applied; !c.Offline {
		t.Errorf("applied %+v", c)
	}
	// A tap can't ask, whatever it publishes.
	data, err := json.Marshal(offline)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{askConditions, applyConditions} {
		if err := tap.Conn().Publish(tap.CtlSubject(subject), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tap.AskConditions(offline); err == nil {
		t.Error("a tap's request is answered")
	}
	if err := tap.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.AskConditions(bus.Conditions{}); err != nil { // after it, in order
		t.Fatal(err)
	}
	if c := <-applied; c.Offline {
		t.Error("a tap changed the network")
	}
}
