package tlsdec

// What is incomplete takes memory in every connection that got stuck. All of them
// together are bounded: the oldest lose first what is only for looks, then their place
// in the stream.

// incomplete is how many bytes of c and its inner one count for Limits.Incomplete.
func (c *conn) incomplete() (n int) {
	for i := range c.half {
		h := &c.half[i]
		n += len(h.partial) + len(h.messages) + len(h.loss.window)
	}
	if q := c.quic; q != nil {
		for d := range q.sides {
			for i := range q.sides[d].crypto {
				n += len(q.sides[d].crypto[i].data)
			}
		}
	}
	if s := c.tls; s != nil {
		n += len(s.transcript)
		for _, chain := range [][][]byte{s.info.Certificates, s.info.ClientCertificates} {
			for _, cert := range chain {
				n += len(cert)
			}
		}
	}
	if c.inner != nil {
		n += c.inner.incomplete()
	}
	return n
}

// weigh counts c, an outer connection, anew.
func (d *decoder) weigh(c *conn) {
	n := c.incomplete()
	d.partly += n - c.partly
	c.partly = n
}

// shed makes room for what is incomplete, as enforceLimits does for what is held.
func (d *decoder) shed() {
	enough := d.limits.Incomplete - d.limits.Incomplete/8
	for _, drop := range []func(*conn){(*conn).dropFacts, (*conn).dropIncomplete} {
		d.forEach(func(c *conn) bool {
			if c.partly > 0 {
				if drop(c); d.conns[c.id] == c {
					d.weigh(c)
				}
			}
			return d.partly > enough
		})
	}
}

// dropFacts forgets the certificates, which have been given, and the transcript of
// a handshake that is over.
func (c *conn) dropFacts() {
	if s := c.tls; s != nil && !s.dirty && c.half[0].finished && c.half[1].finished {
		s.transcript, s.info.Certificates, s.info.ClientCertificates = nil, nil, nil
	}
	if c.inner != nil {
		c.inner.dropFacts()
	}
}

// dropIncomplete gives up the directions that are in the middle of something.
func (c *conn) dropIncomplete() {
	if c.inner != nil {
		c.inner.dropIncomplete()
	}
	if c.stopped {
		c.giveUp()
	}
	if c.quic != nil {
		c.quic.dropCrypto()
	}
	for i := range c.half {
		h := &c.half[i]
		if len(h.partial)+len(h.messages)+len(h.loss.window) == 0 {
			continue
		}
		if h.mode == modeTLS {
			c.damaged(h, "More connections were in the middle of a record than Clipper keeps in memory.")
		}
		h.freePartial(c.d)
		h.messages, h.loss.window = nil, nil
	}
	if s := c.tls; s != nil {
		c.flushInfo(c.at)
		s.transcript, s.info.Certificates, s.info.ClientCertificates = nil, nil, nil
	}
	c.resume()
}
