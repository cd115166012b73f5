package cdpgw

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"clipper/bus"
)

// wish is what one client asks of the app's network. It lasts as long as the client.
type wish struct {
	offline    bool
	limits     []bus.Limit // by rule, the one for everything last
	blocking   []bus.BlockRule
	impossible [2][]string // patterns that mean no whole host: of limits, of blocking
}

func (w *wish) empty() bool {
	return !w.offline && len(w.limits) == 0 && len(w.blocking) == 0 && len(w.impossible[0])+len(w.impossible[1]) == 0
}

// conditions puts the wishes of all clients together and has them applied.
type conditions struct {
	apply func(bus.Conditions) error // nil: the traffic can't be changed
	flows func(*bus.Target) []bus.Flow

	active atomic.Bool // somebody asks something

	mu     sync.Mutex
	wishes map[*client]*wish
	rules  int // given out, for their ids
	asked  bus.Conditions
}

var errRecorded = errors.New("this is a recording: its network can't be changed any more")

// change changes the wish of a client, and applies what follows.
func (s *conditions) change(c *client, f func(*wish)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wishes[c]
	if w == nil {
		w = &wish{}
	}
	before := *w
	f(w)
	if s.apply == nil {
		if w.empty() {
			return nil
		}
		return errRecorded
	}
	if s.wishes == nil {
		s.wishes = map[*client]*wish{}
	}
	s.keep(c, w)
	err := s.update()
	if err != nil {
		s.keep(c, &before)
	}
	return err
}

func (s *conditions) keep(c *client, w *wish) {
	s.wishes[c] = w
	if w.empty() {
		delete(s.wishes, c)
	}
	s.active.Store(len(s.wishes) > 0)
}

// leave forgets the wish of a client that has gone.
func (s *conditions) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wishes[c] != nil {
		s.keep(c, &wish{})
		_ = s.update() // the spawner undoes it when the gateway has gone, too
	}
}

// refresh applies the rules to the connections that have come to be known.
func (s *conditions) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wishes) > 0 {
		_ = s.update() // the next connection tries again
	}
}

// update applies the sum of the wishes if it has changed. The caller holds mu.
func (s *conditions) update() error {
	next := merge(s.wishes)
	for i := range next.Blocking {
		next.Blocking[i].Flows = s.known(&next.Blocking[i].Target)
	}
	for i := range next.Limits {
		next.Limits[i].Flows = s.known(&next.Limits[i].Target)
	}
	if reflect.DeepEqual(next, s.asked) {
		return nil
	}
	if err := s.apply(next); err != nil {
		return err
	}
	s.asked = next
	return nil
}

func (s *conditions) known(t *bus.Target) []bus.Flow {
	if t.Every() {
		return nil
	}
	return s.flows(t)
}

// merge adds wishes up: what any client blocks is blocked, and the slowest of
// the networks that are for everything is the one.
func merge(wishes map[*client]*wish) (c bus.Conditions) {
	var all *bus.Limit
	slower := func(a, b int64) int64 {
		if a == 0 || b > 0 && b < a {
			return b
		}
		return a
	}
	order := slices.SortedFunc(maps.Keys(wishes), func(a, b *client) int { return cmp.Compare(a.number, b.number) })
	for _, from := range order {
		w := wishes[from]
		c.Offline = c.Offline || w.offline
		c.Blocking = append(c.Blocking, w.blocking...)
		c.Impossible = append(append(c.Impossible, w.impossible[0]...), w.impossible[1]...)
		for _, l := range w.limits {
			switch {
			case !l.Every():
				c.Limits = append(c.Limits, l)
			case all == nil:
				all = &l
			default:
				all.Latency, all.Download, all.Upload = max(all.Latency, l.Latency), slower(all.Download, l.Download), slower(all.Upload, l.Upload)
			}
		}
	}
	if all != nil {
		c.Limits = append(c.Limits, *all)
	}
	return c
}

// networkParams are those of the methods that change the network.
type networkParams struct {
	Offline bool `json:"offline"`
	rateParams
	Rules []struct {
		URLPattern string `json:"urlPattern"`
		Offline    bool   `json:"offline"`
		rateParams
	} `json:"matchedNetworkConditions"`
	URLs        []string `json:"urls"`
	URLPatterns []struct {
		URLPattern string `json:"urlPattern"`
		Block      bool   `json:"block"`
	} `json:"urlPatterns"`
}

type rateParams struct {
	Latency  float64 `json:"latency"`            // ms
	Download float64 `json:"downloadThroughput"` // bytes/s; 0 and -1: no limit
	Upload   float64 `json:"uploadThroughput"`
}

// limit is p for a target, nil if it changes nothing.
func (p rateParams) limit(t bus.Target) *bus.Limit {
	whole := func(f, unit, most float64) int64 {
		if !(f > 0) {
			return 0
		}
		return int64(math.Ceil(min(f*unit, most)))
	}
	l := &bus.Limit{Target: t, Latency: whole(p.Latency, 1e6, 60e9), Download: whole(p.Download, 1, 1e12), Upload: whole(p.Upload, 1, 1e12)}
	if l.Latency == 0 && l.Download == 0 && l.Upload == 0 {
		return nil
	}
	return l
}

// changeNetwork does the methods of the domain Network that change the traffic.
func (c *client) changeNetwork(m *call) (any, *callError) {
	var p networkParams
	if len(m.Params) > 0 {
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, &callError{codeParams, "Invalid parameters: " + err.Error()}
		}
	}
	var answer any = object{}
	var err error
	switch m.Method {
	case "Network.emulateNetworkConditions":
		err = c.g.conditions.change(c, func(w *wish) {
			w.offline, w.limits, w.impossible[0] = p.Offline, nil, nil
			if l := p.limit(bus.Target{}); l != nil && !p.Offline {
				w.limits = []bus.Limit{*l}
			}
		})
	case "Network.emulateNetworkConditionsByRule":
		ids := []string{} // without the list the frontend throws
		err = c.g.conditions.change(c, func(w *wish) {
			w.offline, w.limits, w.impossible[0] = p.Offline, nil, nil
			for _, r := range p.Rules {
				c.g.conditions.rules++
				ids = append(ids, strconv.Itoa(c.g.conditions.rules))
				if r.URLPattern == "" {
					if w.offline = w.offline || r.Offline; w.offline {
						continue
					}
				}
				t, err := target(r.URLPattern)
				if err != nil {
					w.impossible[0] = append(w.impossible[0], r.URLPattern)
				} else if l := r.limit(t); l != nil {
					w.limits = append(w.limits, *l)
				}
			}
		})
		answer = object{"ruleIds": ids}
	case "Network.setBlockedURLs":
		err = c.g.conditions.change(c, func(w *wish) {
			w.blocking, w.impossible[1] = nil, nil
			add := func(t bus.Target, err error, pattern string, block bool) {
				if err == nil {
					w.blocking = append(w.blocking, bus.BlockRule{Target: t, Block: block})
				} else if block {
					w.impossible[1] = append(w.impossible[1], pattern)
				}
			}
			for _, u := range p.URLs {
				t, err := hostWildcard(u)
				add(t, err, u, true)
			}
			for _, u := range p.URLPatterns {
				t, err := hostPattern(u.URLPattern)
				add(t, err, u.URLPattern, u.Block)
			}
			blocks := false
			for _, b := range w.blocking {
				blocks = blocks || b.Block
			}
			if !blocks { // exemptions from nothing
				w.blocking = nil
			}
		})
	}
	if err != nil {
		return nil, &callError{codeServer, err.Error()}
	}
	return answer, nil
}

func target(pattern string) (bus.Target, error) {
	if pattern == "" {
		return bus.Target{}, nil
	}
	return hostPattern(pattern)
}

// flowsOf are the open connections that are meant by what was decoded of them.
func (g *Gateway) flowsOf(t *bus.Target) []bus.Flow {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.translate.Flows(func(name string, server netip.AddrPort) bool { return t.Match(name, server) })
}
