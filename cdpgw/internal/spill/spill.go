// Package spill keeps bytes in an unlinked file: nothing of it is left behind,
// however the process ends.
package spill

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// Extent is where bytes stand in a File.
type Extent struct {
	Offset, Len int64
}

// File is append-only storage with holes. It is made on the first Write. It is
// safe for concurrent use.
type File struct {
	dir string

	mu  sync.Mutex
	f   *os.File
	end int64
}

// New makes a File in dir, or in the system's directory for temporary files.
func New(dir string) *File { return &File{dir: dir} }

// Write appends b.
func (s *File) Write(b []byte) (Extent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "devtools-*")
		if err != nil {
			return Extent{}, fmt.Errorf("spill: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return Extent{}, fmt.Errorf("spill: %w", err)
		}
		s.f = f
	}
	if _, err := s.f.WriteAt(b, s.end); err != nil {
		return Extent{}, fmt.Errorf("spill: %w", err)
	}
	e := Extent{s.end, int64(len(b))}
	s.end += e.Len
	return e, nil
}

// ReadAt fills b from the place off bytes into e.
func (s *File) ReadAt(b []byte, e Extent, off int64) error {
	s.mu.Lock()
	f := s.f
	s.mu.Unlock()
	if f == nil || off < 0 || off+int64(len(b)) > e.Len {
		return fmt.Errorf("spill: read of %d bytes at %d of %d", len(b), off, e.Len)
	}
	if _, err := f.ReadAt(b, e.Offset+off); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	return nil
}

// fallocate(2) flags.
const (
	fallocKeepSize  = 1
	fallocPunchHole = 2
)

// Free gives the space of e back to the file system, where it can.
func (s *File) Free(e Extent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil && e.Len > 0 {
		_ = syscall.Fallocate(int(s.f.Fd()), fallocKeepSize|fallocPunchHole, e.Offset, e.Len)
	}
}

// Close frees everything.
func (s *File) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}
