package up

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"clipper/bus"
)

func TestConditionsSaid(t *testing.T) {
	var said []string
	var applied bus.Conditions
	var refuse error
	ended := false
	s := conditions{
		ended: func() bool { return ended },
		apply: func(c bus.Conditions) error { applied = c; return refuse },
		say:   func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) },
	}
	ads := bus.Target{Host: "*.ads.test", Ports: []uint16{80, 443}}
	known := ads
	known.Flows = []bus.Flow{{Transport: "tcp"}}
	for _, c := range []bus.Conditions{
		{},
		{Offline: true},
		{Offline: true}, // once is enough
		{Limits: []bus.Limit{{Latency: 400e6, Download: 50_000, Upload: 50_000}}},
		{Blocking: []bus.BlockRule{{Target: bus.Target{Host: "good.ads.test"}}, {Target: ads, Block: true}}, Limits: []bus.Limit{{Target: bus.Target{Host: "slow.test"}, Latency: 1e9}}},
		{Blocking: []bus.BlockRule{{Target: bus.Target{Host: "good.ads.test"}}, {Target: known, Block: true}}, Limits: []bus.Limit{{Target: bus.Target{Host: "slow.test"}, Latency: 1e9}}},
		{Impossible: []string{"*://x.test/path"}},
	} {
		if err := s.set(c); err != nil {
			t.Fatal(err)
		}
	}
	s.undo()
	s.undo()
	want := []string{
		"DevTools changes the network of the command: offline",
		"DevTools changes the network of the command: latency 400 ms, download 50.0 kB/s, upload 50.0 kB/s",
		"DevTools changes the network of the command: latency 1.0 s for slow.test; not blocked: good.ads.test; blocked: *.ads.test:80,443",
		`DevTools changes the network of the command: "*://x.test/path" is ignored, for only whole hosts can be blocked or throttled, such as *://api.example.com`,
		"DevTools: the network of the command is as it was before",
	}
	if !slices.Equal(said, want) {
		t.Errorf("said\n%q\nwant\n%q", said, want)
	}
	if !applied.Empty() {
		t.Errorf("in force: %+v", applied)
	}
	refuse = errors.New("no network")
	if err := s.set(bus.Conditions{Offline: true}); err == nil || s.current().Offline || said[len(said)-1] != "DevTools asked for another network, which could not be had: no network" {
		t.Errorf("%v, %+v, %q", err, s.current(), said)
	}
	ended = true
	if err := s.set(bus.Conditions{Offline: true}); err != nil || len(said) != len(want)+1 {
		t.Errorf("after the end: %v, %q", err, said)
	}
}
