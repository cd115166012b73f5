package tlsdec

import "clipper/bus"

// datagram takes the next record of a UDP flow. Datagrams pass through
// unchanged unless the flow is QUIC.
func (c *conn) datagram(r *bus.Record) {
	c.at = r.Time
	if r.Type == bus.Data && !c.decided {
		c.decided, c.quic = true, detectQUIC(r.Payload)
	}
	switch {
	case c.quic != nil:
		c.process(r)
	case r.Type == bus.End:
		c.forward(r)
		c.d.remove(c)
	default:
		c.forward(r)
	}
}
