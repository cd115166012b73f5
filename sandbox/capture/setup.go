//go:build linux

package capture

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Dimensions of the ring. A block has to hold frames of 64 KiB without much
// waste. The kernel clears the memory at Setup, which takes 7 to 20 ms for 8 MiB.
const (
	BlockSize = 256 << 10 // bytes
	Blocks    = 32
)

// RetireTimeout is how long a frame waits, at most, for its block to be handed
// to the reader, in milliseconds. Half of it is the mean delay that capture adds
// to the display of quiet traffic (measured: 4.4 ms); Blocks times it is how long the reader may be
// away from quiet traffic before the ring is full.
const RetireTimeout = 8

// Setup makes fd record: it attaches the filter, sets up the ring and binds the
// socket to every interface of its namespace, those that come later included.
// fd is a fresh socket(AF_PACKET, SOCK_RAW, 0), opened inside the namespace; the
// caller of Setup may be outside of it and needs no capability.
func Setup(fd int) error { return setup(fd, RetireTimeout) }

func setup(fd int, retire uint32) error {
	if err := attachFilter(fd); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("capture: TPACKET_V3 on the packet socket: %w", err)
	}
	const frame = 2048 // has no meaning in version 3 but must divide the block
	req := unix.TpacketReq3{
		Block_size: BlockSize, Block_nr: Blocks,
		Frame_size: frame, Frame_nr: BlockSize / frame * Blocks,
		Retire_blk_tov: retire,
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("capture: packet ring of %d KiB: %w", Blocks*BlockSize>>10, err)
	}
	// The ring stands before the first frame can come.
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}); err != nil {
		return fmt.Errorf("capture: bind the packet socket: %w", err)
	}
	return nil
}

// Offsets of ancillary data in classic BPF (linux/filter.h).
const (
	skfAdOff     = 0xfffff000
	skfAdPktType = skfAdOff + 4
	skfAdIfindex = skfAdOff + 8
)

// loopbackIndex is the index of lo in every network namespace.
const loopbackIndex = 1

// attachFilter drops what lo sends: it comes again as what lo receives.
func attachFilter(fd int) error {
	const wholeFrame = 0x40000
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdIfindex},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: loopbackIndex, Jt: 0, Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdPktType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jt: 1, Jf: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: wholeFrame},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	p := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p); err != nil {
		return fmt.Errorf("capture: filter on the packet socket: %w", err)
	}
	return nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
