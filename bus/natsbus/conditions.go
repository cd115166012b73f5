package natsbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
)

// The network conditions that DevTools asks for go from the gateway to the
// spawner, which tells the user, and from there to the network. Taps reach
// neither subject: they are of an account that cannot publish here.
const (
	askConditions   = "conditions" // gateway -> spawner; an empty message asks for what holds
	applyConditions = "network"    // spawner -> network
)

const conditionsTimeout = 5 * time.Second

// conditionsReply answers both.
type conditionsReply struct {
	Error      string          `json:"error,omitempty"`
	Conditions *bus.Conditions `json:"conditions,omitempty"`
}

// AskConditions asks the spawner for other network conditions. It returns when
// they hold.
func (b *Bus) AskConditions(c bus.Conditions) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = b.conditions(askConditions, data, 2*conditionsTimeout)
	return err
}

// ApplyConditions tells the network about other conditions.
func (b *Bus) ApplyConditions(c bus.Conditions) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = b.conditions(applyConditions, data, conditionsTimeout)
	return err
}

func (b *Bus) conditions(subject string, data []byte, limit time.Duration) (*bus.Conditions, error) {
	m, err := b.Conn().Request(b.CtlSubject(subject), data, limit)
	if err != nil {
		return nil, fmt.Errorf("natsbus: network conditions: %w", err)
	}
	var r conditionsReply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return nil, fmt.Errorf("natsbus: network conditions: %w", err)
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Conditions, nil
}

// ServeConditions answers AskConditions: set puts conditions in force, now says
// what holds. Both may be called from other goroutines than the caller's.
func (b *Bus) ServeConditions(set func(bus.Conditions) error, now func() bus.Conditions) error {
	return b.answerConditions(askConditions, func(data []byte) (r conditionsReply, err error) {
		if len(data) == 0 {
			c := now()
			return conditionsReply{Conditions: &c}, nil
		}
		var c bus.Conditions
		if err := json.Unmarshal(data, &c); err != nil {
			return r, err
		}
		if err := c.Check(); err != nil {
			return r, err
		}
		return r, set(c)
	})
}

// ObeyConditions applies what ApplyConditions tells, and what held when this
// process was started.
func (b *Bus) ObeyConditions(apply func(bus.Conditions) error) error {
	err := b.answerConditions(applyConditions, func(data []byte) (r conditionsReply, err error) {
		var c bus.Conditions
		if err := json.Unmarshal(data, &c); err != nil {
			return r, err
		}
		return r, apply(c)
	})
	if err != nil {
		return err
	}
	if err := b.Conn().Flush(); err != nil {
		return fmt.Errorf("natsbus: network conditions: %w", err)
	}
	c, err := b.conditions(askConditions, nil, conditionsTimeout)
	switch {
	case errors.Is(err, nats.ErrNoResponders): // the session is being made
		return nil
	case err != nil || c == nil || c.Empty():
		return err
	}
	return apply(*c)
}

func (b *Bus) answerConditions(subject string, f func([]byte) (conditionsReply, error)) error {
	_, err := b.Conn().Subscribe(b.CtlSubject(subject), func(m *nats.Msg) {
		r, err := f(m.Data)
		if err != nil {
			r.Error = err.Error()
		}
		if data, err := json.Marshal(r); err == nil {
			_ = m.Respond(data) // who does not hear it asks again
		}
	})
	if err != nil {
		return fmt.Errorf("natsbus: network conditions: %w", err)
	}
	return nil
}
