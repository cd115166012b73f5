package up

import (
	"encoding/json"
	"sync"
	"time"

	"clipper/bus/natsbus"
	"clipper/internal/roles"

	"github.com/nats-io/nats.go"
)

// RoleState is a role as `clipper ps` shows it: its process and how it fares.
// Numbers are sums over the partitions.
type RoleState struct {
	roles.State
	RSS        int64   `json:"rss,omitempty"` // bytes
	InRecords  uint64  `json:"inRecords"`
	InBytes    uint64  `json:"inBytes"`
	OutRecords uint64  `json:"outRecords"`
	OutBytes   uint64  `json:"outBytes"`
	InRate     float64 `json:"inRate"`  // records/s, over the last seconds
	OutRate    float64 `json:"outRate"` // records/s
	InSpeed    float64 `json:"inSpeed"` // bytes/s
	Backlog    uint64  `json:"backlog"` // messages that wait
	Dropped    uint64  `json:"dropped,omitempty"`
	Malformed  uint64  `json:"malformed,omitempty"`
	Done       bool    `json:"done,omitempty"` // all of it is decoded
}

// healthWindow is over how long rates are measured, at least.
const healthWindow = 2 * time.Second

// health is what the roles say of themselves.
type health struct {
	mu   sync.Mutex
	last map[healthKey]*sample
}

type healthKey struct {
	role      string
	partition int
}

// sample is the present state of one partition of a role, and an earlier one.
type sample struct {
	now, before natsbus.Health
	at, then    time.Time
}

// listen follows the health of all roles until the bus is closed.
func (h *health) listen(b *natsbus.Bus) error {
	h.last = map[healthKey]*sample{}
	_, err := b.Conn().Subscribe(b.CtlSubject("health.*"), func(m *nats.Msg) {
		var n natsbus.Health
		if json.Unmarshal(m.Data, &n) == nil {
			h.take(n, time.Now())
		}
	})
	return err
}

func (h *health) take(n natsbus.Health, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := healthKey{n.Role, n.Partition}
	s := h.last[k]
	switch {
	case s == nil || s.now.PID != n.PID: // started again: it counts from zero
		s = &sample{before: natsbus.Health{PID: n.PID}, then: at}
		h.last[k] = s
	case at.Sub(s.then) > healthWindow && s.at.After(s.then):
		s.before, s.then = s.now, s.at
	}
	s.now, s.at = n, at
}

// add fills in what is known of the role of r.
func (h *health) add(r *RoleState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	any, done := false, true
	for k, s := range h.last {
		if k.role != r.Name || s.now.PID != r.PID && r.PID != 0 {
			continue
		}
		n, b := &s.now, &s.before
		any, done = true, done && n.Done
		r.InRecords, r.InBytes = r.InRecords+n.InRecords, r.InBytes+n.InBytes
		r.OutRecords, r.OutBytes = r.OutRecords+n.OutRecords, r.OutBytes+n.OutBytes
		r.Backlog, r.Dropped, r.Malformed = r.Backlog+n.Backlog, r.Dropped+n.Dropped, r.Malformed+n.Malformed
		if took := s.at.Sub(s.then).Seconds(); took > 0 {
			r.InRate += float64(n.InRecords-b.InRecords) / took
			r.OutRate += float64(n.OutRecords-b.OutRecords) / took
			r.InSpeed += float64(n.InBytes-b.InBytes) / took
		}
	}
	r.Done = any && done
	r.RSS = natsbus.ResidentBytes(r.PID)
}

// lost is how many frames the capture could not take.
func (h *health) lost() (n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, s := range h.last {
		if k.role == "capture" {
			n += s.now.Dropped
		}
	}
	return n
}

// states lists the roles.
func (r *run) states() (all []RoleState) {
	for _, s := range r.roles.States() {
		rs := RoleState{State: s}
		r.health.add(&rs)
		all = append(all, rs)
	}
	return all
}
