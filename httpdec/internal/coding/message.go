package coding

// Messages decodes the messages of permessage-deflate (RFC 7692, section 7.2.2).
// With takeover, a message may refer to the ones before it.
type Messages struct {
	takeover bool
	f        *inflate
	err      error
}

// NewMessages returns a decoder for one direction of a connection.
func NewMessages(takeover bool) *Messages { return &Messages{takeover: takeover} }

// Write takes a part of a message's payload.
func (m *Messages) Write(p []byte, out func([]byte)) error {
	if m.f == nil {
		m.f = newInflate()
	}
	for m.err == nil && len(p) > 0 {
		rest, done, err := m.f.write(p, out)
		if m.err = err; !done {
			break
		}
		m.f.state, m.f.final = inflateHeader, false // a final block; more may follow
		p = rest
	}
	return m.err
}

// End ends a message. An error is final where messages refer to each other.
func (m *Messages) End(out func([]byte)) error {
	err := m.Write([]byte{0, 0, 0xff, 0xff}, out)
	if err == nil && m.f.state != inflateHeader {
		err = ErrTruncated
	}
	if !m.takeover {
		m.Release()
	}
	return err
}

// Release frees the window.
func (m *Messages) Release() {
	if m.f != nil {
		m.f.release()
		m.f = nil
	}
	m.err = nil
}
