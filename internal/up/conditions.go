package up

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"clipper/bus"
	"clipper/internal/term"
)

// conditions are what DevTools asked of the command's network. The user reads
// of every change on the terminal.
type conditions struct {
	apply func(bus.Conditions) error // in the network
	say   func(format string, a ...any)
	ended func() bool // the network is gone: nothing is changed any more, nor said

	mu  sync.Mutex
	now bus.Conditions
}

// set puts c in force.
func (s *conditions) set(c bus.Conditions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended() {
		s.now = c
		return nil
	}
	if err := s.apply(c); err != nil {
		s.say("DevTools asked for another network, which could not be had: %v", err)
		return err
	}
	before, after := describe(s.now), describe(c)
	s.now = c
	switch {
	case before == after:
	case after == "":
		s.say("DevTools: the network of the command is as it was before")
	default:
		s.say("DevTools changes the network of the command: %s", after)
	}
	return nil
}

// undo is what happens when nobody is there any more who could take it back.
func (s *conditions) undo() {
	s.mu.Lock()
	nothing := s.now.Empty() && len(s.now.Impossible) == 0
	s.mu.Unlock()
	if nothing {
		return
	}
	_ = s.set(bus.Conditions{}) // it said so
}

func (s *conditions) current() bus.Conditions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// describe is c in words, "" for nothing.
func describe(c bus.Conditions) string {
	var parts []string
	if c.Offline {
		parts = append(parts, "offline")
	}
	for _, l := range c.Limits {
		var p []string
		if l.Latency > 0 {
			p = append(p, fmt.Sprintf("latency %s", term.Duration(time.Duration(l.Latency))))
		}
		for _, rate := range []struct {
			name  string
			bytes int64
		}{{"download", l.Download}, {"upload", l.Upload}} {
			if rate.bytes > 0 {
				p = append(p, fmt.Sprintf("%s %s/s", rate.name, term.Size(uint64(rate.bytes))))
			}
		}
		if len(p) == 0 {
			p = []string{"no limit"}
		}
		text := strings.Join(p, ", ")
		if !l.Every() {
			text += " for " + l.Target.String()
		}
		parts = append(parts, text)
	}
	for _, b := range c.Blocking {
		verb := "blocked: "
		if !b.Block {
			verb = "not blocked: "
		}
		parts = append(parts, verb+b.Target.String())
	}
	for _, p := range slices.Sorted(slices.Values(c.Impossible)) {
		parts = append(parts, fmt.Sprintf("%q is ignored, for only whole hosts can be blocked or throttled, such as *://api.example.com", p))
	}
	return strings.Join(parts, "; ")
}
