package tlsdec

import "clipper/bus"

// datagram takes the next record of a UDP flow. Datagrams pass through
// unchanged unless the flow is QUIC.
func (c *conn) datagram(r *bus.Record) {
	c.at = r.Time
	switch r.Type {
	case bus.Data:
		if !c.decided {
			c.decided, c.quic = true, detectQUIC(r.Payload)
		}
		if c.quic != nil {
			c.quicDatagram(r)
			return
		}
	case bus.End:
		c.forward(r)
		c.d.remove(c)
		return
	}
	c.forward(r)
}
