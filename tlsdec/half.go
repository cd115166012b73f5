package tlsdec

import "clipper/bus"

type halfMode uint8

const (
	modeClear  halfMode = iota // not TLS so far: passes through
	modeTLS                    // records are followed
	modeOpaque                 // TLS that can't be read from here on
)

// half is one direction of a connection.
type half struct {
	dir    bus.Dir
	mode   halfMode
	out    uint64 // offset of the next plaintext byte
	closed bool   // Fin was given

	undecided []heldRecord // chunks that may be the beginning of TLS
	later     []heldRecord // input that waits for the other direction
	waits     bool

	partial []byte // of a record that spans chunks; complete if it waits for a secret
	begun   int64  // time of partial's first byte
	v2      bool   // the next record is a ClientHello in SSL 2's format

	epoch    epoch
	prot     protection // of epoch; nil until its secret is found
	secret   []byte     // of prot: traffic secret or, before TLS 1.3, master secret
	suite    *suite     // of secret, TLS 1.3
	params   parameters // of epoch, before TLS 1.3
	messages []byte     // incomplete handshake messages
	skip     int        // bytes to go of a message that is too long to keep
	finished bool       // a Finished was seen
	loss     loss
}

func (h *half) freePartial(d *decoder) {
	if h.partial != nil {
		d.recycle(h.partial)
		h.partial = nil
	}
}

// feed takes the bytes of r for TLS records and works on each as it is complete.
// When it does not return done, the record that stopped it is in h.partial or at the
// beginning of r's payload.
func (c *conn) feed(h *half, r *bus.Record) status {
	for {
		if h.mode != modeTLS {
			r.Payload = nil
			return done
		}
		if h.loss.seeking {
			if st := c.seek(h, r); st != done || h.loss.seeking || h.mode != modeTLS {
				return st
			}
		}
		record, err := h.next(c.d, r)
		if err == errMore {
			return done
		}
		if err != nil {
			c.damaged(h, "The bytes are not TLS records any more.")
			continue
		}
		begun, spanned := r.Time, h.partial != nil
		if spanned {
			begun = h.begun
		}
		if h.v2 {
			h.v2 = false
			c.clientHelloV2(h, record, r.Time)
		} else if h.loss.holed {
			c.holedRecord(h, record, r.Time)
		} else if st := c.record(h, record, begun, r.Time); st != done {
			return st
		}
		c.steps++
		if spanned {
			h.freePartial(c.d)
		} else {
			r.Payload = r.Payload[len(record):]
		}
	}
}

// next returns the next complete record: h.partial, filled up from r's payload, or
// a part of the payload. With errMore, all of the payload was taken.
func (h *half) next(d *decoder, r *bus.Record) ([]byte, error) {
	if h.partial == nil {
		total, err := h.recordLen(r.Payload)
		if err == nil && len(r.Payload) >= total {
			return r.Payload[:total], nil
		}
		if err == errRecord || len(r.Payload) == 0 {
			if err == nil {
				err = errMore
			}
			return nil, err
		}
		h.partial, h.begun = d.buffer(), r.Time
	}
	for {
		total, err := h.recordLen(h.partial)
		if err == errRecord {
			return nil, err
		}
		if err == errMore {
			total = recordHeaderLen
		}
		h.take(r, total-len(h.partial))
		if len(h.partial) < total {
			return nil, errMore
		}
		if err == nil {
			return h.partial, nil
		}
	}
}

// recordLen is the length of the record in front of b, header included.
func (h *half) recordLen(b []byte) (int, error) {
	if h.v2 {
		return helloV2Len(b)
	}
	hdr, n, err := parseRecordHeader(b)
	return n + hdr.length, err
}

// take moves up to n bytes from r's payload to h.partial.
func (h *half) take(r *bus.Record, n int) {
	n = min(n, len(r.Payload))
	h.partial = append(h.partial, r.Payload[:n]...)
	r.Payload = r.Payload[n:]
}

// fin forwards the end of a direction.
func (c *conn) fin(h *half, r *bus.Record) {
	if h.mode == modeClear {
		if c.tls == nil {
			c.flushUndecided()
		} else { // the other direction may be an answer to the ClientHello
			c.flushHalf(h)
		}
		c.forward(r)
		h.closed = true
		return
	}
	c.closeHalf(h, r.Time)
}

// closeHalf gives Fin once: at close_notify or at the transport's Fin.
func (c *conn) closeHalf(h *half, t int64) {
	if h.closed {
		return
	}
	h.closed = true
	c.give(&bus.Record{Type: bus.Fin, Dir: h.dir, Offset: h.out, Time: t})
}

// gap takes note of bytes that were never captured.
func (c *conn) gap(h *half, r *bus.Record) status {
	if h.mode == modeClear {
		if c.tls != nil && !c.tls.late {
			c.damaged(h, "The beginning of it was not captured.")
			return done
		}
		c.open.Partial = c.open.Partial || r.Offset == 0
		c.flushUndecided()
		c.forward(r)
		h.out = r.Offset + uint64(r.Aux)
		return done
	}
	if h.mode == modeTLS {
		return c.gapTLS(h, r)
	}
	return done
}

// data emits plaintext.
func (c *conn) data(h *half, plain []byte, t int64, flags bus.Flags) {
	if len(plain) == 0 {
		return
	}
	c.flushInfo(t)
	c.tls.data = true
	if c.nests(h, plain) {
		c.nest()
	}
	r := bus.Record{Type: bus.Data, Flags: flags, Dir: h.dir, Offset: h.out, Time: t, Payload: plain}
	h.out += uint64(len(plain))
	c.give(&r)
}

// lost emits a gap of n bytes in the plaintext.
func (c *conn) lost(h *half, n int, t int64, flags bus.Flags) {
	c.flushInfo(t)
	r := bus.Record{Type: bus.Gap, Flags: flags, Dir: h.dir, Offset: h.out, Time: t, Aux: uint32(n)}
	h.out += uint64(n)
	c.give(&r)
}
