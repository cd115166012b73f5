package up

import (
	"encoding/json"
	"fmt"

	"clipper/bus/natsbus"

	"github.com/nats-io/nats.go"
)

// Command is what `clipper ps`, `restart` and `swap` ask of a session, as JSON
// on the core NATS subject clipper.<session>.ctl.up.
type Command struct {
	Op   string `json:"op"` // "states", "restart" or "replay"
	Role string `json:"role,omitempty"`
	Path string `json:"path,omitempty"` // restart, replay: the program to run instead
}

// Reply is the answer.
type Reply struct {
	Error  string      `json:"error,omitempty"`
	States []RoleState `json:"states,omitempty"`
	Seen   Seen        `json:"seen,omitzero"`
}

// Seen is what a session has seen so far.
type Seen struct {
	Exchanges int            `json:"exchanges"`
	Failed    int            `json:"failed"`             // exchanges that broke off
	Lost      uint64         `json:"lost"`               // frames
	Verdicts  map[string]int `json:"verdicts,omitempty"` // connections that cannot be read, by code
}

// control answers commands for the session.
func (r *run) control() error {
	_, err := r.bus.Conn().Subscribe(r.bus.CtlSubject("up"), func(m *nats.Msg) {
		var c Command
		var reply Reply
		if err := json.Unmarshal(m.Data, &c); err != nil {
			reply.Error = err.Error()
		} else if err := r.obey(c, &reply); err != nil {
			reply.Error = err.Error()
		}
		b, err := json.Marshal(reply)
		if err == nil {
			m.Respond(b)
		}
	})
	if err != nil {
		return err
	}
	r.conditions.apply, r.conditions.say = r.bus.ApplyConditions, r.term.Say
	r.conditions.ended = func() bool {
		select {
		case <-r.roles.Done("netd"):
			return true
		default:
			return false
		}
	}
	return r.bus.ServeConditions(r.conditions.set, r.conditions.current)
}

func (r *run) obey(c Command, reply *Reply) error {
	switch c.Op {
	case "states":
		reply.States, reply.Seen = r.states(), r.seen()
		return nil
	case "restart":
		return r.roles.Restart(c.Role, c.Path)
	case "replay":
		return r.replay(c.Role, c.Path)
	}
	return fmt.Errorf("unknown operation %q", c.Op)
}

func (r *run) seen() Seen {
	t := r.out.sink.Totals()
	return Seen{Exchanges: t.Exchanges, Failed: t.Failed, Lost: max(t.Lost, r.health.lost()), Verdicts: t.Verdicts}
}

// askLimit is how long a session may take to obey; a replay ends roles first.
const askLimit = 4 * stopLimit

// Ask sends a command to the session that b is connected to.
func Ask(b *natsbus.Bus, c Command) (Reply, error) {
	var reply Reply
	data, err := json.Marshal(c)
	if err != nil {
		return reply, err
	}
	m, err := b.Conn().Request(b.CtlSubject("up"), data, askLimit)
	if err != nil {
		return reply, fmt.Errorf("ask the session: %w", err)
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return reply, err
	}
	if reply.Error != "" {
		return reply, fmt.Errorf("the session says: %s", reply.Error)
	}
	return reply, nil
}
