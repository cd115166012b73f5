//go:build linux

package capture

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// position is how far the reader has come.
type position struct {
	next    uint64 // sequence number of the first block that is not published
	index   uint64 // frame index of its first frame
	dropped uint64 // lost frames that have been published
	intent  uint64 // lost frames that are being published at index
}

// page is the memory that the holder of the socket, the reader and the gate
// share. The position of the output has two slots, of which active names the valid one, so
// that a reader killed between two stores leaves the old position whole.
type page struct {
	magic  uint32
	active atomic.Uint32
	done   atomic.Uint32 // the capture has ended: the gate stays open
	ready  atomic.Uint32 // a reader has said that it can be ended
	slots  [2]struct{ next, index, dropped, intent atomic.Uint64 }

	moved   atomic.Uint64 // number of the first block that is still in the ring
	waiting atomic.Uint32 // blocks in the backlog
	backlog uint32        // its places

	// Sums of the kernel's statistics, which start again at each query.
	packets, drops, freezes atomic.Uint64

	// numbers tells which block each place of the backlog holds, 0 for none. The
	// backlog is the rest of the file, and may have fewer.
	numbers [MaxBacklog / BlockSize]atomic.Uint64
}

func (p *page) places() []atomic.Uint64 { return p.numbers[:p.backlog] }

const (
	pageSize  = 64 << 10
	pageMagic = 0x43504733
)

// NewPage makes the memory that the processes of one capture share, as a file
// without a name to be passed by descriptor: the page, and behind it the
// smallest backlog.
func NewPage() (*os.File, error) { return NewPageWith(MinBacklog) }

// NewPageWith is NewPage with a backlog of about the given size, from
// MinBacklog to MaxBacklog bytes. What is not used takes no memory.
func NewPageWith(backlog int64) (*os.File, error) {
	places := min(max(backlog, MinBacklog), MaxBacklog) / BlockSize
	fd, err := unix.MemfdCreate("clipper-capture", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("capture: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "clipper-capture")
	if err := f.Truncate(pageSize + places*BlockSize); err != nil {
		f.Close()
		return nil, fmt.Errorf("capture: size of the shared page: %w", err)
	}
	// Nobody can take the memory away from under a mapping.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, fmt.Errorf("capture: seal the shared page: %w", err)
	}
	p, err := mapPage(fd)
	if err != nil {
		f.Close()
		return nil, err
	}
	defer p.unmap()
	p.slots[0].next.Store(1) // the kernel counts blocks from 1
	p.moved.Store(1)
	p.backlog = uint32(places)
	p.magic = pageMagic
	return f, nil
}

func mapPage(fd int) (*page, error) {
	m, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("capture: map the shared page: %w", err)
	}
	return (*page)(unsafe.Pointer(&m[0])), nil
}

// openPage maps a page that NewPage made.
func openPage(fd int) (*page, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("capture: descriptor %d of the shared page: %w", fd, err)
	}
	if st.Size < pageSize+MinBacklog {
		return nil, fmt.Errorf("capture: descriptor %d is not a shared page", fd)
	}
	p, err := mapPage(fd)
	if err != nil {
		return nil, err
	}
	if p.magic != pageMagic || st.Size != pageSize+int64(p.backlog)*BlockSize {
		p.unmap()
		return nil, fmt.Errorf("capture: descriptor %d is not a shared page", fd)
	}
	return p, nil
}

func (p *page) unmap() error {
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(p)), pageSize))
}

func (p *page) load() position {
	s := &p.slots[p.active.Load()&1]
	return position{s.next.Load(), s.index.Load(), s.dropped.Load(), s.intent.Load()}
}

func (p *page) commit(n position) {
	i := p.active.Load()&1 ^ 1
	s := &p.slots[i]
	s.next.Store(n.next)
	s.index.Store(n.index)
	s.dropped.Store(n.dropped)
	s.intent.Store(n.intent)
	p.active.Store(i)
}

// Abandon opens the gate for good, when nobody will read the ring any more: the
// program goes on unrecorded.
func Abandon(pageFile *os.File) error {
	p, err := openPage(int(pageFile.Fd()))
	if err != nil {
		return err
	}
	defer p.unmap()
	p.done.Store(1)
	return nil
}
