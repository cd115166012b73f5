package tlsdec

// connList keeps connections in the order they were opened.
type connList struct{ first, last *conn }

func (l *connList) push(c *conn) {
	c.prev = l.last
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

// replace puts n in the place of c.
func (l *connList) replace(c, n *conn) {
	n.prev, n.next = c.prev, c.next
	if n.prev != nil {
		n.prev.next = n
	} else {
		l.first = n
	}
	if n.next != nil {
		n.next.prev = n
	} else {
		l.last = n
	}
	c.prev, c.next = nil, nil
}

func (l *connList) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
}
