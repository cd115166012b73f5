// Package state is what a supervisor leaves to its successor, in a memfd that
// no hooked program ever sees: the notification just received, those in
// flight, the position in the key ring, the digests of published secrets, the
// hooked images and the live processes.
package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/seccomp"
)

const (
	maxFlight  = 512
	maxImages  = 4096
	maxProcs   = 8192
	maxSeen    = 1 << 17
	probes     = 16
	imageBytes = 512
)

type header struct {
	magic    uint64
	ringPos  uint64
	cookie   [2]uint64
	images   uint32 // last image id given
	_        uint32
	received seccomp.Notification
	flight   [maxFlight]seccomp.Notification
}

// process is one entry of the table of live processes.
type process struct {
	pid   uint64
	start uint64
}

type image struct {
	id      uint32
	pid     uint32
	exeLen  uint16
	libLen  uint16
	mechLen uint16
	_       uint16
	text    [imageBytes - 16]byte
}

type layout struct {
	header header
	procs  [maxProcs]process
	seen   [maxSeen]uint64
	images [maxImages]image
}

const magic = 0x31656b6f6f686b63

// Create makes the memfd, with a fresh random cookie. Pages are only used as
// they are touched.
func Create() (*os.File, error) {
	fd, err := unix.MemfdCreate("clipper-keyhook", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "clipper-keyhook")
	if err := unix.Ftruncate(fd, int64(unsafe.Sizeof(layout{}))); err != nil {
		f.Close()
		return nil, err
	}
	s, err := Open(fd)
	if err != nil {
		f.Close()
		return nil, err
	}
	defer s.Close()
	var b [16]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		f.Close()
		return nil, err
	}
	// As a directory descriptor and a path pointer neither value can be
	// meant: the low 32 bits of the first are negative and not AT_FDCWD, and
	// the second is no user address.
	s.l.header.cookie[0] = binary.LittleEndian.Uint64(b[:])&^0xffff | 0x80000000
	s.l.header.cookie[1] = binary.LittleEndian.Uint64(b[8:]) | 1<<63
	s.l.header.magic = magic
	return f, nil
}

// State is the mapped memory.
type State struct {
	mem []byte
	l   *layout
	mu  sync.Mutex
}

// Open maps the memfd.
func Open(fd int) (*State, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size != int64(unsafe.Sizeof(layout{})) {
		return nil, fmt.Errorf("state of %d bytes, want %d", st.Size, unsafe.Sizeof(layout{}))
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &State{mem: mem, l: (*layout)(unsafe.Pointer(&mem[0]))}, nil
}

// Close unmaps it.
func (s *State) Close() error { return unix.Munmap(s.mem) }

// Cookie is the pair of arguments of the injected system call that asks for
// the key ring.
func (s *State) Cookie() (uint64, uint64) { return s.l.header.cookie[0], s.l.header.cookie[1] }

// RingPos is the reader's position in the key ring.
func (s *State) RingPos() *uint64 { return &s.l.header.ringPos }

// Received is where the next notification is to be received: the kernel's own
// copy puts its id into the shared page, so that there is no instant at which
// a killed supervisor has taken one that its successor can't know of.
func (s *State) Received() *seccomp.Notification { return &s.l.header.received }

// Begin puts a notification among those in flight. It reports false when there
// is no room, and then the caller answers before it receives again.
func (s *State) Begin(n seccomp.Notification) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.l.header.flight {
		if p := &s.l.header.flight[i]; p.ID == 0 {
			id := n.ID
			n.ID = 0
			*p = n
			atomic.StoreUint64(&p.ID, id)
			return true
		}
	}
	return false
}

// Phases of a notification in flight, kept in its unused Flags.
const (
	Received  = 0 // not answered
	Answered  = 1 // its task runs the call, and will be stopped behind it
	Protected = 2 // its task is stopped, and will ask if we go away
)

// Mark notes that a notification came to a phase.
func (s *State) Mark(id uint64, phase uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.l.header.flight {
		if p := &s.l.header.flight[i]; p.ID == id {
			atomic.StoreUint32(&p.Flags, phase)
			return
		}
	}
}

// End forgets a notification that needs nothing more.
func (s *State) End(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.l.header.flight {
		if p := &s.l.header.flight[i]; p.ID == id {
			atomic.StoreUint64(&p.ID, 0)
			return
		}
	}
}

// Abandoned takes out what a killed predecessor had received and perhaps not
// answered.
func (s *State) Abandoned() []seccomp.Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[uint64]bool{0: true}
	var left []seccomp.Notification
	take := func(p *seccomp.Notification) {
		if !seen[p.ID] {
			seen[p.ID] = true
			left = append(left, *p)
		}
		*p = seccomp.Notification{}
	}
	for i := range s.l.header.flight { // these know their phase
		take(&s.l.header.flight[i])
	}
	take(&s.l.header.received)
	return left
}

func digest(line string) uint64 {
	h := sha256.Sum256([]byte(line))
	return binary.LittleEndian.Uint64(h[:]) | 1
}

// Seen reports whether Publish was told of the line. Of very many lines the
// earlier ones are forgotten.
func (s *State) Seen(line string) bool {
	d := digest(line)
	for i := uint64(0); i < probes; i++ {
		if s.l.seen[(d>>8+i)%maxSeen] == d {
			return true
		}
	}
	return false
}

// Published remembers a line, as a digest.
func (s *State) Published(line string) {
	d := digest(line)
	for i := uint64(0); i < probes; i++ {
		if p := &s.l.seen[(d>>8+i)%maxSeen]; *p == 0 || *p == d {
			*p = d
			return
		}
	}
	s.l.seen[(d>>8+d>>40%probes)%maxSeen] = d
}

// Image is a hooked library in a process image.
type Image struct {
	ID         uint32
	PID        int // in the supervisor's pid namespace
	Executable string
	Library    string
	Mechanism  string
}

// AddImage gives the image an id, which is never 0.
func (s *State) AddImage(im Image) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l.header.images++
	if s.l.header.images == 0 {
		s.l.header.images++
	}
	id := s.l.header.images
	p := &s.l.images[id%maxImages]
	p.id, p.pid = 0, uint32(im.PID)
	t := p.text[:0]
	cut := func(f string, n int) uint16 {
		if len(f) > n {
			f = f[:n]
		}
		t = append(t, f...)
		return uint16(len(f))
	}
	p.libLen, p.mechLen = cut(im.Library, 64), cut(im.Mechanism, 64)
	p.exeLen = cut(im.Executable, len(p.text)-128)
	p.id = id
	return id
}

// Image looks an id up.
func (s *State) Image(id uint32) (Image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.l.images[id%maxImages]
	if id == 0 || p.id != id {
		return Image{}, false
	}
	l, m, e := int(p.libLen), int(p.mechLen), int(p.exeLen)
	return Image{ID: id, PID: int(p.pid), Library: string(p.text[:l]), Mechanism: string(p.text[l : l+m]),
		Executable: string(p.text[l+m : l+m+e])}, true
}

// AddProcess remembers a live process by pid and start time (clock ticks, as
// in /proc/PID/stat). It reports whether there was room.
func (s *State) AddProcess(pid int, start uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := uint64(0); i < probes; i++ {
		p := &s.l.procs[(uint64(pid)+i)%maxProcs]
		if p.pid == 0 || p.pid == uint64(pid) {
			p.start, p.pid = start, uint64(pid)
			return true
		}
	}
	return false
}

// RemoveProcess forgets it, if the number has not been taken by another since.
func (s *State) RemoveProcess(pid int, start uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := uint64(0); i < probes; i++ {
		if p := &s.l.procs[(uint64(pid)+i)%maxProcs]; p.pid == uint64(pid) && p.start == start {
			p.pid = 0
			return
		}
	}
}

// Processes lists them.
func (s *State) Processes() map[int]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[int]uint64{}
	for _, p := range s.l.procs {
		if p.pid != 0 {
			m[int(p.pid)] = p.start
		}
	}
	return m
}
