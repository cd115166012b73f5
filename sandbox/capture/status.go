//go:build linux

package capture

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statuses are the status words of a ring's blocks. The kernel numbers the
// blocks it opens from 1 and opens them round the ring, so block s lies at
// (s-1) mod Blocks.
type statuses [Blocks]*uint32

// statusesOf finds them in a mapped ring.
func statusesOf(ring unsafe.Pointer) (s statuses) {
	for i := range s {
		s[i] = (*uint32)(unsafe.Add(ring, i*BlockSize+blockStatus))
	}
	return s
}

// ready reports whether the block at the place of seq waits to be read.
func (s *statuses) ready(seq uint64) bool {
	return atomic.LoadUint32(s[(seq-1)%Blocks])&unix.TP_STATUS_USER != 0
}

// release gives a block back to the kernel.
func (s *statuses) release(seq uint64) {
	atomic.StoreUint32(s[(seq-1)%Blocks], unix.TP_STATUS_KERNEL)
}

// fill counts the blocks from next on that wait to be read.
func (s *statuses) fill(next uint64) (n int) {
	for n < Blocks && s.ready(next+uint64(n)) {
		n++
	}
	return n
}

// mapStatus maps of a ring the page of each block with its status, so that the
// ring does not count as memory of the process. The kernel maps a ring as a
// whole only: the rest is given back at once.
func mapStatus(packetFD int) (s statuses, err error) {
	ring, err := unix.MmapPtr(packetFD, 0, nil, BlockSize*Blocks, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return s, fmt.Errorf("capture: map the packet ring: %w", err)
	}
	s = statusesOf(ring)
	page := uintptr(os.Getpagesize())
	for i := range s {
		if err := unix.MunmapPtr(unsafe.Add(ring, i*BlockSize+int(page)), BlockSize-page); err != nil {
			// What is mapped so far stays so: it does no harm.
			return s, fmt.Errorf("capture: unmap frames of the packet ring: %w", err)
		}
	}
	return s, nil
}

// unmap undoes mapStatus, page by page: what lies between belongs to somebody
// else by now.
func (s *statuses) unmap() (err error) {
	for _, p := range s {
		err = errors.Join(err, unix.MunmapPtr(unsafe.Add(unsafe.Pointer(p), -blockStatus), uintptr(os.Getpagesize())))
	}
	return err
}
