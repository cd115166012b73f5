package tlsdec

// recordMaster opens a protected record of a version before TLS 1.3.
func (c *conn) recordMaster(h *half, record []byte, t int64) status {
	if h.prot == nil && !c.acquireMaster(h, record, t) {
		if !c.final {
			return needSecret
		}
		c.unreadable(h)
		return done
	}
	typ, plain, err := h.prot.open(c.d.work[c.depth].scratch, record)
	if err != nil {
		c.damaged(h, "A record does not authenticate.")
		return done
	}
	c.content(h, typ, plain, t)
	return done
}

// protection12 makes the protection of h's epoch from a master secret, with the
// compression below it.
func (c *conn) protection12(h *half, master []byte) protection {
	p := newProtection12(&h.params, master, h.dir)
	if p != nil && h.params.compression == compressionDeflate {
		return &compressed{protection: p, inflater: &c.d.work[c.depth].inflater}
	}
	return p
}

// acquireMaster finds the master secret of h's epoch: the one that opens record, its first.
func (c *conn) acquireMaster(h *half, record []byte, t int64) bool {
	s := c.tls
	c.flushInfo(t)
	c.wants = labelMaster
	fits := func(master []byte, from origin) bool {
		p := c.protection12(h, master)
		if p == nil {
			return false
		}
		if !c.openFirst(h, p, record) {
			return false
		}
		if !p.anyOrder() { // opening changed its state: begin again
			h.prot = c.protection12(h, master)
		}
		s.master, h.secret = master, master
		s.learned(from)
		return true
	}
	if s.master != nil && fits(s.master, origin{}) {
		return true
	}
	for _, key := range s.keys() {
		e := c.d.secrets.get([]byte(key))
		for _, k := range e.find(labelMaster, e.find(labelSession, nil)) {
			if fits(k.value, k.from) {
				return true
			}
		}
		for _, k := range e.find(labelPremaster, nil) {
			if fits(s.masterSecret(&h.params, k.value), k.from) {
				return true
			}
		}
	}
	if !s.anyKey() {
		return false
	}
	tryAll := func(e *entry) bool {
		for _, k := range e.find(labelMaster, nil) {
			if fits(k.value, k.from) {
				return true
			}
		}
		return false
	}
	if c.fresh != nil {
		return tryAll(c.fresh)
	}
	recent := c.d.secrets.recent
	for i := len(recent) - 1; i >= 0 && i >= len(recent)-maxTrials; i-- {
		if tryAll(recent[i]) {
			return true
		}
	}
	return false
}
