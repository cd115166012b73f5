package keyhook

import (
	"errors"
	"fmt"
	"os"

	"clipper/keyhook/internal/ring"
	"clipper/keyhook/internal/state"
)

// Shared is what outlives a supervisor. The spawner makes it once, keeps it
// and the listener open, and passes them to each supervisor that it starts, so
// that one can be killed at any time and its successor loses nothing.
type Shared struct {
	Ring  *os.File // memfd that hooked programs map: the key ring
	State *os.File // memfd of supervisors only: notifications in flight, what was published, hooked images
}

// NewShared makes the memory files.
func NewShared() (*Shared, error) {
	r, err := ring.Create()
	if err != nil {
		return nil, fmt.Errorf("keyhook: key ring: %w", err)
	}
	s, err := state.Create()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("keyhook: supervisor state: %w", err)
	}
	return &Shared{Ring: r, State: s}, nil
}

// Close closes both files.
func (s *Shared) Close() error { return errors.Join(s.Ring.Close(), s.State.Close()) }
