package keyhook

import "clipper/bus"

// Publisher takes what the supervisor finds. Its methods are called from one
// goroutine at a time, and a call that returned nil is final: the record is
// not offered again.
type Publisher interface {
	// Secret publishes one secret; time is Unix ns.
	Secret(s *bus.TLSSecret, time int64) error
	// Event publishes one process event.
	Event(e *bus.ProcEvent) error
	// Flush makes all that was published visible now.
	Flush() error
	// End publishes the end of both layers.
	End() error
}
