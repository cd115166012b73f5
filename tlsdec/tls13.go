package tlsdec

import (
	"clipper/bus"
)

// record13 opens a protected record of TLS 1.3.
func (c *conn) record13(h *half, record []byte, t int64) status {
	if h.prot == nil {
		st, ok := c.acquire13(h, record, t)
		if st != done || !ok {
			return st
		}
	}
	typ, plain, err := h.prot.open(c.d.work[c.depth].scratch, record)
	if err != nil {
		if h.epoch == epochEarly {
			// The server refused the early data, and the client went on.
			h.epoch, h.prot = epochHandshake, nil
			return c.record13(h, record, t)
		}
		if h.loss.any {
			return c.recover13(h, record, t)
		}
		c.damaged(h, "A record does not authenticate.")
		return done
	}
	switch {
	case h.epoch == epochEarly && typ == typeApplicationData:
		c.earlyData(h, plain, t)
	case h.epoch == epochHandshake && typ == typeApplicationData: // never valid
	default:
		c.content(h, typ, plain, t)
	}
	return done
}

// label13 is the label of the secret of an epoch.
func label13(d bus.Dir, e epoch) label {
	if d == bus.ServerToClient {
		if e == epochHandshake {
			return labelServerHS
		}
		return labelServerTraffic
	}
	switch e {
	case epochEarly:
		return labelClientEarly
	case epochHandshake:
		return labelClientHS
	}
	return labelClientTraffic
}

// acquire13 finds the secret of h's epoch: the one that opens record, its first.
// If it returns done and false, the record is to be left out.
func (c *conn) acquire13(h *half, record []byte, t int64) (status, bool) {
	s := c.tls
	if h.epoch != epochEarly && s.server == nil {
		if c.peerless {
			c.damaged(h, "The ServerHello was not captured.")
			return done, false
		}
		return needPeer, false
	}
	c.flushInfo(t)
	c.wants = label13(h.dir, h.epoch)
	if c.try13(h, label13(h.dir, h.epoch), record) {
		return done, true
	}
	e := c.d.secrets.get(s.random)
	switch h.epoch {
	case epochEarly:
		// A secret of the handshake without one of the early data: that will not
		// come, or these are records of the handshake.
		if !e.has(labelClientHS) && !e.has(labelServerHS) && !c.final {
			return needSecret, false
		}
		if s.server == nil && !c.peerless {
			return needPeer, false
		}
		if s.server != nil {
			h.epoch = epochHandshake
			if c.try13(h, labelClientHS, record) {
				return done, true
			}
			h.epoch = epochEarly
		}
		c.lostEarlyData(h, len(record)-recordHeaderLen-17, t)
		return done, false
	case epochHandshake:
		// The same for a key log that lacks the secrets of the handshake, once they
		// would have come. Its records are lost then, and should the secret come after
		// all, it is in the middle of the epoch, or behind it.
		without := (c.final || c.warned) && e.trafficOnly(h.dir)
		if without || h.loss.any {
			h.epoch = epochTraffic
			if c.try13(h, label13(h.dir, epochTraffic), record) {
				h.finished = true
				return done, true
			}
			h.epoch = epochHandshake
		}
		if without {
			h.loss.any = true
			return done, false
		}
	}
	if c.final {
		c.unreadable(h)
		return done, false
	}
	return needSecret, false
}

// trafficOnly reports whether there is a secret of d's data, and none of its handshake.
func (e *entry) trafficOnly(d bus.Dir) bool {
	return e.has(label13(d, epochTraffic)) && !e.has(label13(d, epochHandshake))
}

// try13 takes the first secret with label l that opens record into use.
func (c *conn) try13(h *half, l label, record []byte) bool {
	s := c.tls
	suites := []*suite{s.suite}
	if s.server == nil { // early data: that of the session which is resumed
		suites = offeredSuites13(s.hello)
	}
	fits := func(e *entry) bool {
		for _, k := range e.find(l, nil) {
			for _, suite := range suites {
				p := newProtection13(suite, k.value)
				if p == nil {
					continue
				}
				if !c.openFirst(h, p, record) {
					continue
				}
				h.secret, h.suite = k.value, suite
				s.random = []byte(e.key)
				s.learned(k.from)
				return true
			}
		}
		return false
	}
	return c.searchSecret(fits)
}

// searchSecret gives fits the secrets that may be the connection's until it takes one.
func (c *conn) searchSecret(fits func(*entry) bool) bool {
	s := c.tls
	if fits(c.d.secrets.get(s.random)) {
		return true
	}
	if !s.anyKey() || string(s.random) != string(s.hello.random[:]) {
		return false
	}
	// Encrypted Client Hello: the random of the inner one is not known.
	if c.fresh != nil {
		return fits(c.fresh)
	}
	recent := c.d.secrets.recent
	for i := len(recent) - 1; i >= 0 && i >= len(recent)-maxTrials; i-- {
		if fits(recent[i]) {
			return true
		}
	}
	return false
}

// maxTrials bounds how many secrets are tried on a record whose key is unknown.
const maxTrials = 4096

func offeredSuites13(h *clientHello) (out []*suite) {
	for _, id := range h.suites {
		if id>>8 == 0x13 {
			if s := newSuite(id); s != nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// keyUpdate changes to the next traffic secret (RFC 8446, section 4.6.3).
func (c *conn) keyUpdate(h *half) {
	if h.epoch != epochTraffic || h.prot == nil {
		return
	}
	h.secret = nextTrafficSecret(h.suite, h.secret)
	h.prot = newProtection13(h.suite, h.secret)
}

// earlyData keeps a record of 0-RTT until the server has decided about it.
func (c *conn) earlyData(h *half, plain []byte, t int64) {
	s := c.tls
	if s.earlyOver {
		if s.info.EarlyData {
			c.data(h, plain, t, bus.Early)
		}
		return
	}
	e := earlyData{plain: append([]byte(nil), plain...), time: t}
	s.early = append(s.early, e)
	c.addHeld(e.cost())
}

// lostEarlyData notes a record of 0-RTT without a secret: a gap if the server
// accepts it. Its size is the most that it can hold (16 bytes tag, 1 byte type).
func (c *conn) lostEarlyData(h *half, size int, t int64) {
	s := c.tls
	size = max(size, 0)
	if s.earlyOver {
		if s.info.EarlyData {
			c.lost(h, size, t, bus.Early)
		}
		return
	}
	e := earlyData{missing: size, time: t}
	s.early = append(s.early, e)
	c.addHeld(e.cost())
}

// decideEarly gives the early data, or drops it: then the client sends it again.
func (c *conn) decideEarly(accepted bool) {
	s := c.tls
	if s.earlyOver {
		return
	}
	s.earlyOver = true
	if accepted {
		s.info.EarlyData, s.dirty = true, true
		for _, e := range s.early {
			if e.missing > 0 {
				c.lost(&c.half[bus.ClientToServer], e.missing, e.time, bus.Early)
			}
			c.data(&c.half[bus.ClientToServer], e.plain, e.time, bus.Early)
		}
	}
	c.dropEarly()
}

func (c *conn) dropEarly() {
	for _, e := range c.tls.early {
		c.addHeld(-e.cost())
	}
	c.tls.early = nil
}
