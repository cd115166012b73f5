// Package bodies stores the bodies of HTTP messages: the newest in memory, the
// rest in a spill file, the oldest not at all.
package bodies

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/spill"
)

// Key addresses the body of one message.
type Key struct {
	Conn   bus.ConnID
	Stream uint64
	Dir    bus.Dir
}

// ErrEvicted is a body that is not kept any more.
var ErrEvicted = errors.New("body no longer kept: the limit on stored bodies was reached")

const (
	spillSize = 1 << 20 // a body with more than this in memory goes to the file
	maxBodies = 100_000 // bodies, empty ones too
)

type body struct {
	key     Key
	parts   []spill.Extent // in the file, in order
	stored  int64          // bytes in parts
	tail    []byte         // after parts, in memory
	want    int64          // bytes announced
	evicted bool
	place   *list.Element
}

func (b *body) len() int64 { return b.stored + int64(len(b.tail)) }

// Store is safe for concurrent use.
type Store struct {
	file            *spill.File
	maxMem, maxDisk int64

	mu        sync.Mutex
	bodies    map[Key]*body
	age       list.List // of *body, oldest first
	mem, disk int64
	// Where to look next for a body to spill or to evict; nil: at the oldest.
	inMemory, onDisk *list.Element
	dropped          bool // an unknown key may be that of a body that was dropped
	changed          chan struct{}
}

// New makes a store of at most mem bytes in memory and disk bytes in file.
func New(file *spill.File, mem, disk int64) *Store {
	return &Store{file: file, maxMem: mem, maxDisk: disk, bodies: map[Key]*body{}, changed: make(chan struct{})}
}

func (s *Store) get(k Key) *body {
	b := s.bodies[k]
	if b == nil {
		b = &body{key: k}
		b.place = s.age.PushBack(b)
		s.bodies[k] = b
		if len(s.bodies) > maxBodies {
			s.drop()
		}
	}
	return b
}

// Announce says that the body has at least n bytes.
func (s *Store) Announce(k Key, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.get(k); int64(n) > b.want {
		b.want = int64(n)
	}
}

// Add takes bytes at an offset. What is there already is ignored; a gap
// before them closes up.
func (s *Store) Add(k Key, offset uint64, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.get(k)
	if b.evicted || len(p) == 0 {
		return
	}
	if have := uint64(b.len()); offset < have {
		if have-offset >= uint64(len(p)) {
			return
		}
		p = p[have-offset:]
	}
	b.tail = append(b.tail, p...)
	s.mem += int64(len(p))
	if len(b.tail) > spillSize {
		s.spill(b)
	}
	s.shrink()
	close(s.changed)
	s.changed = make(chan struct{})
}

// shrink keeps the limits: the oldest bodies leave memory for the file, and
// then the file.
func (s *Store) shrink() {
	for s.mem > s.maxMem {
		b := s.next(&s.inMemory, func(b *body) bool { return len(b.tail) > 0 })
		if b == nil {
			break
		}
		s.spill(b)
	}
	for s.disk > s.maxDisk {
		b := s.next(&s.onDisk, func(b *body) bool { return b.stored > 0 })
		if b == nil {
			break
		}
		s.evict(b)
	}
}

// next is the oldest body that fits, from *from on, and once more from the
// beginning, since an old body may have grown again.
func (s *Store) next(from **list.Element, fits func(*body) bool) *body {
	again := *from != nil
	for {
		e := *from
		if e == nil {
			e = s.age.Front()
		}
		for ; e != nil; e = e.Next() {
			if b := e.Value.(*body); fits(b) {
				*from = e
				return b
			}
		}
		*from = nil
		if !again {
			return nil
		}
		again = false
	}
}

// drop forgets the oldest body altogether.
func (s *Store) drop() {
	e := s.age.Front()
	b := e.Value.(*body)
	s.evict(b)
	for _, at := range []**list.Element{&s.inMemory, &s.onDisk} {
		if *at == e {
			*at = e.Next()
		}
	}
	delete(s.bodies, b.key)
	s.age.Remove(e)
	s.dropped = true
}

func (s *Store) spill(b *body) {
	e, err := s.file.Write(b.tail)
	s.mem -= int64(len(b.tail))
	if err != nil { // the disk is full
		b.tail = nil
		s.evict(b)
		return
	}
	b.tail = nil
	s.disk += e.Len
	b.stored += e.Len
	if n := len(b.parts); n > 0 && b.parts[n-1].Offset+b.parts[n-1].Len == e.Offset {
		b.parts[n-1].Len += e.Len
		return
	}
	b.parts = append(b.parts, e)
}

func (s *Store) evict(b *body) {
	for _, e := range b.parts {
		s.file.Free(e)
	}
	s.mem -= int64(len(b.tail))
	s.disk -= b.stored
	b.parts, b.tail, b.stored, b.evicted = nil, nil, 0, true
}

// Len is how many bytes of the body are there.
func (s *Store) Len(k Key) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bodies[k]; b != nil {
		return b.len()
	}
	return 0
}

// Changed is closed at the next Add.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Wait waits until all announced bytes are there, but not longer than d: they
// come by another way than the announcement, so soon.
func (s *Store) Wait(ctx context.Context, k Key, d time.Duration) {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		b, changed := s.bodies[k], s.changed
		ready := b == nil || b.evicted || b.len() >= b.want
		s.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Read appends up to n bytes of the body from offset on to dst.
func (s *Store) Read(dst []byte, k Key, offset, n int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bodies[k]
	if b == nil && !s.dropped {
		return dst, nil
	}
	if b == nil || b.evicted {
		return dst, ErrEvicted
	}
	if offset < 0 || offset > b.len() {
		return dst, fmt.Errorf("bodies: offset %d of %d", offset, b.len())
	}
	n = min(n, b.len()-offset)
	at := int64(0)
	for _, e := range b.parts {
		if n > 0 && offset < at+e.Len {
			from := offset - at
			take := min(n, e.Len-from)
			start := len(dst)
			dst = append(dst, make([]byte, take)...)
			if err := s.file.ReadAt(dst[start:], e, from); err != nil {
				return dst[:start], err
			}
			offset, n = offset+take, n-take
		}
		at += e.Len
	}
	if n > 0 {
		from := offset - b.stored
		dst = append(dst, b.tail[from:from+n]...)
	}
	return dst, nil
}
