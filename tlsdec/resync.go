package tlsdec

import "clipper/bus"

// A loss costs the records that it touches, no more, where the next record can be
// found again and its sequence number told by trying.

const (
	maxSequenceTrials = 1024      // sequence numbers that are tried on one record
	maxLossTrials     = 1 << 14   // the same on all records of a direction
	maxSeek           = 256 << 10 // bytes in which the next record is looked for
)

// loss is what is known about missing bytes of a direction.
type loss struct {
	any     bool   // some were lost in this epoch or before: messages may be missing
	holed   bool   // bytes of h.partial are missing, its length is known
	blind   bool   // handshake messages can't be told apart until the keys change
	seeking bool   // for the next record
	trials  int    // sequence numbers that were tried
	wire    int    // bytes since the last record that was whole
	window  []byte // where it is looked for
	// unnumbered is how many bytes were lost before the first record of an epoch
	// that was captured.
	unnumbered int
}

// gapTLS takes note of missing bytes in a direction that is TLS.
func (c *conn) gapTLS(h *half, r *bus.Record) status {
	n := int(r.Aux)
	if n == 0 { // it was seen before; its record waits
		return c.feed(h, r)
	}
	r.Aux = 0
	h.loss.any = true
	if h.loss.seeking {
		h.loss.wire += len(h.loss.window) + n
		h.loss.window = nil
		return done
	}
	if hdr, k, err := parseRecordHeader(h.partial); err == nil && n <= k+hdr.length-len(h.partial) {
		h.partial = append(h.partial, make([]byte, n)...)
		h.loss.holed = true
		return c.feed(h, r)
	}
	h.loss.wire, h.loss.holed = len(h.partial)+n, false
	h.freePartial(c.d)
	if h.prot != nil && !h.prot.anyOrder() || h.epoch == epochPlain && !c.mayGoBlind(h) {
		c.damaged(h, "Bytes of it were not captured.")
		return done
	}
	h.loss.seeking = true
	return done
}

// mayGoBlind gives up on the handshake messages in the clear, if what is needed of
// them has been seen.
func (c *conn) mayGoBlind(h *half) bool {
	s := c.tls
	if s.hello == nil || h.dir == bus.ServerToClient && s.server == nil {
		return false
	}
	h.loss.blind, s.helloDone = true, true
	h.messages, h.skip = nil, 0
	c.advanced()
	return true
}

// holedRecord works on a record of which bytes are missing.
func (c *conn) holedRecord(h *half, record []byte, t int64) {
	h.loss.holed = false
	switch {
	case h.epoch == epochPlain:
		if !c.mayGoBlind(h) {
			c.damaged(h, "Bytes of the handshake were not captured.")
		}
	case h.prot == nil:
	case !h.prot.anyOrder():
		c.damaged(h, "Bytes of it were not captured.")
	default:
		*h.prot.sequence()++
		c.lostRecords(h, len(record), 1, t)
	}
}

// lostRecords emits the gap that n records of wire bytes in all leave in the
// plaintext. Its size is exact unless they were padded or held other than data.
func (c *conn) lostRecords(h *half, wire, n int, t int64) {
	if h.epoch != epochTraffic && h.epoch != epochMaster {
		return
	}
	if size := wire - n*(recordHeaderLen+h.prot.overhead()); size > 0 {
		c.lost(h, size, t, 0)
	}
}

// seek looks for the next record after missing bytes. When it is found, it and what
// follows it are left in r.
func (c *conn) seek(h *half, r *bus.Record) status {
	l := &h.loss
	l.window = append(l.window, r.Payload...)
	r.Payload = nil
	for {
		i, total := findRecord(l.window)
		l.wire += i
		l.window = l.window[i:]
		if total == 0 || total > len(l.window) {
			if len(l.window) > maxSeek {
				c.damaged(h, "Bytes of it were not captured, and no record was found behind them.")
			}
			return done
		}
		found := false
		if h.prot == nil {
			_, _, err := parseRecordHeader(l.window[total:]) // plausible, if another follows
			found = err != errRecord
		} else {
			found = c.findSequence(h, l.window[:total])
		}
		if !found && l.trials > maxLossTrials {
			c.damaged(h, "Bytes of it were not captured, and no record was found behind them.")
			return done
		}
		if !found {
			l.wire++
			l.window = l.window[1:]
			continue
		}
		r.Payload = l.window
		if h.prot == nil {
			l.unnumbered = l.wire
		}
		l.seeking, l.window, l.wire = false, nil, 0
		return done
	}
}

// findRecord returns where in b a record may begin, and its length; 0 if that is
// not known yet.
func findRecord(b []byte) (at, total int) {
	for at = range b {
		hdr, n, err := parseRecordHeader(b[at:])
		if err == errMore {
			return at, 0
		}
		if err == nil && hdr.typ != typeHeartbeat && hdr.length > 0 && hdr.version>>8 == 3 && hdr.version <= versionTLS12 {
			return at, n + hdr.length
		}
	}
	return len(b), 0
}

// findSequence finds the sequence number of record, a candidate behind a loss of
// h.loss.wire bytes, and notes how much plaintext is missing.
func (c *conn) findSequence(h *half, record []byte) bool {
	const smallest = 1 + recordHeaderLen
	most := min(h.loss.wire/(smallest+h.prot.overhead())+1, maxSequenceTrials)
	seq := h.prot.sequence()
	base := *seq
	for n := h.loss.wire / (recordHeaderLen + maxFragment); n <= most; n++ {
		*seq = base + uint64(n)
		if h.loss.trials++; h.loss.trials > maxLossTrials {
			break
		}
		if _, _, err := h.prot.open(c.d.work[c.depth].scratch, record); err == nil {
			*seq = base + uint64(n) // open again in its turn
			c.lostRecords(h, h.loss.wire, n, c.at)
			return true
		}
	}
	*seq = base
	return false
}

// recover13 goes on after a record that does not open behind a loss: the message
// that changed the keys may be lost.
func (c *conn) recover13(h *half, record []byte, t int64) status {
	switch h.epoch {
	case epochHandshake:
		h.epoch, h.prot = epochTraffic, nil
		h.finished = true
		return c.record13(h, record, t)
	case epochTraffic:
		next := nextTrafficSecret(h.suite, h.secret)
		p := newProtection13(h.suite, next)
		for n := uint64(0); p != nil && n < maxSequenceTrials && h.loss.trials < maxLossTrials; n++ {
			h.loss.trials++
			*p.sequence() = n
			if _, _, err := p.open(c.d.work[c.depth].scratch, record); err == nil {
				*p.sequence() = n
				h.prot, h.secret = p, next
				return c.record13(h, record, t)
			}
		}
	}
	c.damaged(h, "A record does not authenticate.")
	return done
}

// sequences is how many sequence numbers the first record of an epoch may have.
func (h *half) sequences() uint64 {
	if h.loss.any && h.loss.trials < maxLossTrials {
		return maxSequenceTrials / 4
	}
	return 1
}

// openFirst takes p into use if it opens record as one of the first of its
// epoch, and leaves the sequence so that it can be opened again.
func (c *conn) openFirst(h *half, p protection, record []byte) bool {
	n := uint64(1)
	if p.anyOrder() {
		n = h.sequences()
	}
	seq := p.sequence()
	for i := range n {
		*seq = i
		if h.loss.any {
			h.loss.trials++
		}
		if _, _, err := p.open(c.d.work[c.depth].scratch, record); err == nil {
			*seq = i
			if h.prot = p; i > 0 {
				c.lostRecords(h, h.loss.unnumbered, int(i), c.at)
			}
			h.loss.unnumbered = 0
			return true
		}
	}
	return false
}
