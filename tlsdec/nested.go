package tlsdec

import "clipper/bus"

// TLS in TLS: a client that talks to a proxy over TLS begins another TLS behind its
// CONNECT. Then the plaintext of the connection becomes the input of an inner conn,
// which goes on with its output.

// maxDepth bounds how often TLS is taken off one connection.
const maxDepth = 2

// nests looks whether an inner TLS begins with plain, the content of a record.
func (c *conn) nests(h *half, plain []byte) bool {
	return c.inner == nil && h.dir == bus.ClientToServer && c.depth+1 < maxDepth && plain[0] == byte(typeHandshake) && probeClientHello(plain) != no
}

// nest makes the inner conn.
func (c *conn) nest() {
	d := c.d
	d.opened++
	n := &conn{d: d, id: c.id, open: c.open, number: d.opened, depth: c.depth + 1, final: c.final}
	n.open.Partial = false
	for i := range n.half {
		n.half[i] = half{dir: bus.Dir(i), out: c.half[i].out, closed: c.half[i].closed}
	}
	c.inner = n
}

// succeed lets the inner conn take the place of c, which has ended while the inner
// one still waits for a secret.
func (d *decoder) succeed(c *conn) {
	n := c.inner
	n.mark, c.mark = c.mark, nil
	d.order.replace(c, n)
	d.conns[c.id] = n
	c.inner = nil
}
