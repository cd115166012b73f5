package up

import (
	"math"
	"os"
	"testing"
	"time"

	"clipper/bus/natsbus"
	"clipper/internal/roles"
)

func TestHealthSumsAndRates(t *testing.T) {
	h := health{last: map[healthKey]*sample{}}
	at := time.Unix(0, 0)
	say := func(second, partition, pid int, in uint64, done bool) {
		h.take(natsbus.Health{Role: "httpdec", PID: pid, Partition: partition, InRecords: in, OutRecords: 2 * in, InBytes: 10 * in, Backlog: 1, Done: done}, at.Add(time.Duration(second)*time.Second))
	}
	look := func() RoleState {
		r := RoleState{State: roles.State{Name: "httpdec", PID: os.Getpid()}}
		h.add(&r)
		return r
	}
	for s := range 6 {
		say(s, 0, os.Getpid(), uint64(100*s), false)
		say(s, 1, os.Getpid(), uint64(50*s), true)
	}
	h.take(natsbus.Health{Role: "tlsdec", PID: 1, InRecords: 7}, at)
	r := look()
	if r.InRecords != 750 || r.OutRecords != 1500 || r.Backlog != 2 || r.Done || r.RSS == 0 {
		t.Errorf("%+v", r)
	}
	if math.Abs(r.InRate-150) > 1e-6 || math.Abs(r.OutRate-300) > 1e-6 || math.Abs(r.InSpeed-1500) > 1e-6 {
		t.Errorf("rates %v %v %v", r.InRate, r.OutRate, r.InSpeed)
	}
	// Another process counts from zero; what the old one said is no longer true.
	h.take(natsbus.Health{Role: "httpdec", PID: os.Getpid() + 1, Partition: 0, InRecords: 5}, at.Add(7*time.Second))
	if r := look(); r.InRecords != 250 || !r.Done {
		t.Errorf("%+v", r)
	}
}
