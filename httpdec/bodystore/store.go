// Package bodystore keeps the bodies of the Body layer until the exchange is
// complete, so that sinks can read them then: small ones in memory, as far as
// there is room, all others in one unlinked temporary file with an index in memory.
package bodystore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"clipper/bus"
)

// Limits on what stays in memory, in bytes: most bodies are small and live
// shortly, for which a file costs more than they are worth.
const (
	maxSmall  = 64 << 10 // of the beginning of one body
	maxMemory = 4 << 20  // of all bodies
)

// Store is safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	room   int // what is left of maxMemory
	file   *os.File
	end    int64
	bodies map[key]*body
	seq    uint64 // of the last waiter
	err    error
}

type key struct {
	conn   bus.ConnID
	stream uint64
	dir    bus.Dir
}

// body is where the bytes of one body are; extents are in ascending order of
// offset.
type body struct {
	extents []extent
	size    uint64 // up to the highest byte
	waiters []*waiter
}

type extent struct {
	offset uint64 // in the body
	n      int64
	at     int64  // in the file
	memory []byte // the bytes, if they are not in the file
}

// New makes a store whose file is in dir, mode 0600, and has no name there.
func New(dir string) (*Store, error) {
	f, err := os.CreateTemp(dir, ".bodies-*")
	if err != nil {
		return nil, fmt.Errorf("make the body store: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink the body store: %w", err)
	}
	return &Store{room: maxMemory, file: f, bodies: map[key]*body{}}, nil
}

// Add stores a BodyBytes record; other records are ignored. Bytes that are
// stored already are not stored again.
func (s *Store) Add(r *bus.Record) error {
	if r.Layer != bus.Body || r.Type != bus.BodyBytes || len(r.Payload) == 0 {
		return nil
	}
	s.mu.Lock()
	k := key{r.Conn, r.Stream, r.Dir}
	b := s.body(k)
	p, offset := r.Payload, r.Offset
	if offset < b.size { // a repetition
		skip := min(b.size-offset, uint64(len(p)))
		p, offset = p[skip:], offset+skip
	}
	var ready []*waiter
	err := s.err
	if err == nil && len(p) > 0 {
		if err = s.write(b, p, offset); err == nil {
			ready = b.ready()
		}
	}
	s.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
	return err
}

func (s *Store) body(k key) *body {
	b := s.bodies[k]
	if b == nil {
		b = &body{}
		s.bodies[k] = b
	}
	return b
}

func (s *Store) write(b *body, p []byte, offset uint64) error {
	n := len(p)
	last := b.before(offset)
	if offset < maxSmall && n <= min(s.room, maxSmall-int(offset)) {
		s.room -= n
		if last != nil && last.memory != nil {
			last.memory = append(last.memory, p...) // behind what readers have
			last.n += int64(n)
		} else {
			b.extents = append(b.extents, extent{offset: offset, n: int64(n), memory: bytes.Clone(p)})
		}
	} else {
		if _, err := s.file.WriteAt(p, s.end); err != nil {
			s.err = fmt.Errorf("store a body: %w", err)
			return s.err
		}
		if last != nil && last.memory == nil && last.at+last.n == s.end {
			last.n += int64(n)
		} else {
			b.extents = append(b.extents, extent{offset: offset, n: int64(n), at: s.end})
		}
		s.end += int64(n)
	}
	b.size = offset + uint64(n)
	return nil
}

// before is the extent that ends at offset, if any: the last one.
func (b *body) before(offset uint64) *extent {
	if len(b.extents) == 0 || b.size != offset {
		return nil
	}
	return &b.extents[len(b.extents)-1]
}

// Body opens a body for reading; one that was never added is empty. Bytes that
// were not captured read as zeros. The reader must be read before Forget.
func (s *Store) Body(conn bus.ConnID, stream uint64, dir bus.Dir) (io.ReadCloser, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bodies[key{conn, stream, dir}]
	if b == nil {
		return io.NopCloser(eof{}), 0, nil
	}
	return &reader{file: s.file, extents: slices.Clone(b.extents), size: b.size}, b.size, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

type reader struct {
	file    *os.File
	extents []extent
	offset  uint64
	size    uint64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.offset >= r.size {
		return 0, io.EOF
	}
	for len(r.extents) > 0 && r.extents[0].offset+uint64(r.extents[0].n) <= r.offset {
		r.extents = r.extents[1:]
	}
	e := r.extents[0]
	if r.offset < e.offset { // not captured
		n := int(min(uint64(len(p)), e.offset-r.offset))
		clear(p[:n])
		r.offset += uint64(n)
		return n, nil
	}
	skip := int64(r.offset - e.offset)
	if e.memory != nil {
		n := copy(p, e.memory[skip:])
		r.offset += uint64(n)
		return n, nil
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), e.n-skip)], e.at+skip)
	r.offset += uint64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (r *reader) Close() error { return nil }

// Forget drops the bodies of an exchange and gives their room on disk back, as
// far as the file system can.
func (s *Store) Forget(conn bus.ConnID, stream uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir := range bus.Dir(2) {
		k := key{conn, stream, dir}
		if b := s.bodies[k]; b != nil {
			for _, e := range b.extents {
				if e.memory != nil {
					s.room += int(e.n)
				} else {
					punch(s.file, e.at, e.n)
				}
			}
			delete(s.bodies, k)
		}
	}
	if len(s.bodies) == 0 && s.end > 0 {
		if s.file.Truncate(0) == nil {
			s.end = 0
		}
	}
}

// waiter is a call to make when bodies are whole.
type waiter struct {
	left int
	done func()
	want uint64
	seq  uint64
}

// Await calls done when both bodies of an exchange are stored up to the sizes
// that its end events gave: at once, or from within Add or Close. HTTP events and
// bodies come by different streams, so that either may be first.
func (s *Store) Await(conn bus.ConnID, stream uint64, sizes [2]uint64, done func()) {
	s.mu.Lock()
	left := 0
	once := &waiter{done: done}
	for dir := range bus.Dir(2) {
		if sizes[dir] == 0 || s.err != nil { // no more will come
			continue
		}
		b := s.body(key{conn, stream, dir})
		if b.size >= sizes[dir] {
			continue
		}
		left++
		s.seq++
		b.waiters = append(b.waiters, &waiter{seq: s.seq, want: sizes[dir], done: func() {
			s.mu.Lock()
			once.left--
			last := once.left == 0
			s.mu.Unlock()
			if last {
				once.done()
			}
		}})
	}
	once.left = left
	s.mu.Unlock()
	if left == 0 {
		done()
	}
}

func (b *body) ready() (list []*waiter) {
	kept := b.waiters[:0]
	for _, w := range b.waiters {
		if b.size >= w.want {
			list = append(list, w)
		} else {
			kept = append(kept, w)
		}
	}
	b.waiters = kept
	return list
}

// ErrClosed is the use of a closed store.
var ErrClosed = errors.New("bodystore: closed")

// Flush makes all pending Await calls with what is there: no more will come.
func (s *Store) Flush() {
	s.mu.Lock()
	var list []*waiter
	for _, b := range s.bodies {
		list = append(list, b.waiters...)
		b.waiters = nil
	}
	slices.SortFunc(list, func(a, b *waiter) int { return cmp.Compare(a.seq, b.seq) })
	s.mu.Unlock()
	for _, w := range list {
		w.done()
	}
}

// Close flushes and frees the file.
func (s *Store) Close() error {
	s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.err, ErrClosed) {
		return nil
	}
	s.err = ErrClosed
	s.bodies = map[key]*body{}
	return s.file.Close()
}
