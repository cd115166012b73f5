package translate

import "clipper/bus"

// clone copies an event that has to wait, since the original is only valid
// during the call.
func clone(e *bus.Event) *bus.Event {
	c := *e
	c.Request, c.Response = dup(e.Request), dup(e.Response)
	c.Data, c.End, c.Failure = dup(e.Data), dup(e.End), dup(e.Failure)
	c.Message, c.Verdict, c.Closed = dup(e.Message), dup(e.Verdict), dup(e.Closed)
	return &c
}

func dup[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
