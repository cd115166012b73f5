package cdpgw

import (
	"container/list"
	"context"
	"sync"

	"clipper/bus"
)

// maxPlain is how much memory the bytes of connections that are not HTTP may take.
const (
	maxPlain   = 16 << 20
	plainCost  = 512  // of a connection or a record, beside its bytes
	maxRecords = 4096 // of a connection
)

// plainStore keeps the beginning of each connection that is not HTTP, for a
// gateway that gets the layer Plain itself. The oldest connections make room.
type plainStore struct {
	mu    sync.Mutex
	conns map[bus.ConnID]*plainConn
	age   list.List // of *plainConn with records, oldest first
	size  int
}

type plainConn struct {
	id      bus.ConnID
	http    bool // its bytes are shown as exchanges
	records []bus.Record
	shown   int // bytes of records
	size    int // with what the rest takes
	place   *list.Element
}

// add keeps a copy of what dump shows of r.
func (s *plainStore) add(r *bus.Record) {
	if r.Type != bus.Data && r.Type != bus.Gap && r.Type != bus.End {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[r.Conn]
	if r.Type == bus.End {
		if c != nil && c.http {
			delete(s.conns, r.Conn)
		}
		return
	}
	if c == nil {
		if s.conns == nil {
			s.conns = map[bus.ConnID]*plainConn{}
		}
		c = &plainConn{id: r.Conn, size: plainCost}
		c.place = s.age.PushBack(c)
		s.conns[r.Conn] = c
		s.size += plainCost
	}
	if c.http || c.shown > maxDump || len(c.records) >= maxRecords {
		return
	}
	kept := *r
	kept.Payload = append([]byte(nil), r.Payload[:min(len(r.Payload), maxDump+1-c.shown)]...)
	c.records = append(c.records, kept)
	c.shown += len(kept.Payload)
	c.size += plainCost + len(kept.Payload)
	s.size += plainCost + len(kept.Payload)
	for s.size > maxPlain {
		s.drop(s.age.Front().Value.(*plainConn))
	}
}

// isHTTP says that a connection is shown as exchanges.
func (s *plainStore) isHTTP(conn bus.ConnID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[conn]; c != nil && !c.http {
		s.drop(c)
		c.http = true
		s.conns[conn] = c
	}
}

// drop forgets a connection. The caller holds mu.
func (s *plainStore) drop(c *plainConn) {
	s.age.Remove(c.place)
	s.size -= c.size
	c.records, c.shown, c.size = nil, 0, 0
	delete(s.conns, c.id)
}

// read is Options.Plain.
func (s *plainStore) read(_ context.Context, conn bus.ConnID, each func(*bus.Record) bool) error {
	s.mu.Lock()
	var records []bus.Record
	if c := s.conns[conn]; c != nil {
		records = c.records
	}
	s.mu.Unlock()
	for i := range records {
		if !each(&records[i]) {
			break
		}
	}
	return nil
}
