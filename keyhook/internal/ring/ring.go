// Package ring is the supervisor's side of the key ring: a bounded queue of
// fixed slots in a memfd, with many writers (the payload inside hooked
// programs) and one reader. Writers never block: a full ring counts a loss.
//
// Layout, little endian, known to the payload as well:
//
//	  64 u64 cursor: the next position to write
//	 128 u64 dropped: records that found no room
//	 192 u32 futex word, counts published records
//	 196 u32 1 while the reader sleeps on it
//	4096 Slots slots of SlotSize bytes:
//	       0 u64 stamp      8 u32 tid, 12 u32 pid (the writer's own view; 0: unknown)
//	      16 u32 image     20 u8 kind, 21 3 × u8 lengths of three spans
//	      24 the spans, DataSize bytes at most
//
// The slot of position p is p mod Slots; with base = p - p mod Slots its stamp
// is base while free for p, base+1 once p is published, and base+Slots once
// the reader has released it. A fresh memfd of zeros is an empty ring.
//
// Everything in it can be overwritten by a hostile program: the reader trusts
// nothing but its own position.
package ring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Geometry.
const (
	Slots    = 16384
	SlotSize = 256
	DataAt   = 24
	DataSize = SlotSize - DataAt
	header   = 4096
	Size     = header + Slots*SlotSize

	// Name shows in /proc/PID/maps as /memfd:Name.
	Name = "clipper-keys"
)

const (
	offCursor  = 64
	offDropped = 128
	offWord    = 192
	offWaiting = 196
)

// KindLine is the kind of a record whose first span is a whole key log line;
// the spans of any other kind are label, client random and secret.
const KindLine = 5

// Create makes the memfd.
func Create() (*os.File, error) {
	fd, err := unix.MemfdCreate(Name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), Name)
	if err := unix.Ftruncate(fd, Size); err != nil {
		f.Close()
		return nil, err
	}
	// A program that holds the descriptor must not be able to truncate it under us.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Ring reads the queue.
type Ring struct {
	FD    int
	Inode uint64
	mem   []byte
	pos   *uint64 // first position not released
	stuck uint64  // a position that was seen reserved and not published ...
	since time.Time
}

// Open maps the memfd. pos is the reader's position, kept by the caller so
// that a successor can go on with it.
func Open(fd int, pos *uint64) (*Ring, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size != Size {
		return nil, fmt.Errorf("ring of %d bytes, want %d", st.Size, Size)
	}
	mem, err := unix.Mmap(fd, 0, Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Ring{FD: fd, Inode: st.Ino, mem: mem, pos: pos}, nil
}

// Close unmaps the ring; the descriptor stays the caller's.
func (r *Ring) Close() error { return unix.Munmap(r.mem) }

func (r *Ring) u64(o uint64) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[o])) }
func (r *Ring) u32(o uint64) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[o])) }

// Dropped is how many records did not fit, or were given up.
func (r *Ring) Dropped() uint64 { return atomic.LoadUint64(r.u64(offDropped)) }

// Record is one published slot, copied.
type Record struct {
	Pos      uint64
	PID, TID int // as the writer sees itself; 0: unknown
	Image    uint32
	Line     string // "label client-random secret" (RFC 9850), not validated
}

func at(pos uint64) (offset, base uint64) {
	i := pos % Slots
	return header + i*SlotSize, pos - i
}

// Take appends the records that are ready and not yet released, at most max.
// They stay in the ring until Release.
func (r *Ring) Take(to []Record, max int) []Record {
	end := min(atomic.LoadUint64(r.u64(offCursor)), *r.pos+Slots)
	for p := *r.pos; p < end && len(to) < max; p++ {
		o, base := at(p)
		if atomic.LoadUint64(r.u64(o)) == base+1 {
			to = append(to, parse(p, bytes.Clone(r.mem[o:o+SlotSize])))
		}
	}
	return to
}

func parse(pos uint64, s []byte) Record {
	le := binary.LittleEndian
	rec := Record{Pos: pos, TID: int(int32(le.Uint32(s[8:]))), PID: int(int32(le.Uint32(s[12:]))), Image: le.Uint32(s[16:])}
	n1, n2, n3 := int(s[21]), int(s[22]), int(s[23])
	d := s[DataAt:]
	switch {
	case n1+n2+n3 > len(d):
	case s[20] == KindLine:
		rec.Line = string(d[:n1])
	default:
		rec.Line = fmt.Sprintf("%s %x %x", d[:n1], d[n1:n1+n2], d[n1+n2:n1+n2+n3])
	}
	return rec
}

// Release frees a taken record's slot.
func (r *Ring) Release(rec Record) {
	o, base := at(rec.Pos)
	atomic.StoreUint64(r.u64(o), base+Slots)
}

// Advance moves the position over released slots. A slot whose writer
// reserved it and did not publish within the patience (it was killed or
// stopped in between) is given up: it counts as dropped, and its writer finds
// out when it publishes.
func (r *Ring) Advance(now time.Time, patience time.Duration) {
	end := min(atomic.LoadUint64(r.u64(offCursor)), *r.pos+Slots)
	for ; *r.pos < end; *r.pos++ {
		o, base := at(*r.pos)
		v := atomic.LoadUint64(r.u64(o))
		if v == base+Slots {
			continue
		}
		if v == base+1 {
			return
		}
		if r.stuck != *r.pos+1 {
			r.stuck, r.since = *r.pos+1, now
		}
		if now.Sub(r.since) < patience {
			return
		}
		if !atomic.CompareAndSwapUint64(r.u64(o), v, base+Slots) {
			return // published after all
		}
		atomic.AddUint64(r.u64(offDropped), 1)
	}
}

// Pending reports whether a reserved slot is not published yet.
func (r *Ring) Pending() bool { return atomic.LoadUint64(r.u64(offCursor)) > *r.pos }

// Wait sleeps until something was published since the call of Word that gave
// word, or for d at most.
func (r *Ring) Wait(word uint32, d time.Duration) {
	atomic.StoreUint32(r.u32(offWaiting), 1)
	defer atomic.StoreUint32(r.u32(offWaiting), 0)
	ts := unix.NsecToTimespec(int64(d))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(r.u32(offWord))), 0 /* FUTEX_WAIT, shared */, uintptr(word), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// Word is read before Take, for the Wait after it.
func (r *Ring) Word() uint32 { return atomic.LoadUint32(r.u32(offWord)) }

// Wake ends a Wait of this process.
func (r *Ring) Wake() {
	atomic.AddUint32(r.u32(offWord), 1)
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(r.u32(offWord))), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
}
