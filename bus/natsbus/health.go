package natsbus

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Health is what a role says of itself, once a second and at its end, as JSON
// on the core NATS subject clipper.<session>.ctl.health.<role>.
type Health struct {
	Role       string `json:"role"`
	PID        int    `json:"pid"`
	Partition  int    `json:"partition"`
	InRecords  uint64 `json:"inRecords"`
	InBytes    uint64 `json:"inBytes"`
	OutRecords uint64 `json:"outRecords"`
	OutBytes   uint64 `json:"outBytes"`
	Malformed  uint64 `json:"malformed,omitempty"` // input batches that could not be read
	Dropped    uint64 `json:"dropped,omitempty"`   // records too large for a batch
	Backlog    uint64 `json:"backlog"`             // input messages that wait
	RSS        int64  `json:"rss"`                 // bytes
	Done       bool   `json:"done,omitempty"`
}

// PublishHealth sends h; roles that are no stages call it about once a second.
// The numbers of the process are filled in if they are zero.
func (b *Bus) PublishHealth(h Health) error {
	if h.PID == 0 {
		h.PID = os.Getpid()
	}
	if h.RSS == 0 {
		h.RSS = ResidentBytes(h.PID)
	}
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("natsbus: health: %w", err)
	}
	return b.main.nc.Publish(b.CtlSubject("health."+h.Role), data)
}

// ResidentBytes is the resident set of a process (proc_pid_statm(5)); 0 if unknown.
func ResidentBytes(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// health tells how the stage fares.
func (r *runner) health(done bool) {
	if r.opts.Role == "" {
		return
	}
	h := Health{Role: r.opts.Role, Partition: r.partition, InRecords: r.inRecords, InBytes: r.inBytes,
		Malformed: r.malformed, Dropped: r.dropped, Done: done}
	for _, o := range r.outs {
		h.OutRecords += o.records
		h.OutBytes += o.bytes
	}
	for _, in := range r.in {
		if in != nil {
			h.Backlog += in.backlog + uint64(len(in.batches))
		}
	}
	_ = r.bus.PublishHealth(h) // without a connection nobody hears it
}
