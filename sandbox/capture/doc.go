// Package capture records the frames of a network namespace. A packet socket
// with a TPACKET_V3 ring goes in, records of the layer bus.Frames come out.
//
// The ring belongs to the socket, and the socket to whoever holds a descriptor
// of it, so capture is split over processes:
//
//   - the holder calls Setup once, before the sandboxed program runs, and
//     NewPage for the page that the others share;
//   - the reader (the role "capture", Main) takes the frames out. It may be
//     killed at any time: the kernel goes on filling the ring, the page says
//     what has been published, and the next reader loses and repeats nothing;
//   - whoever moves packets (netd) keeps a Gate, which is one atomic load as
//     long as the reader keeps up, and holds TCP back before a frame is lost.
//
// A ring of the kernel is described in its packet_mmap documentation
// (Documentation/networking/packet_mmap.rst) and in linux/if_packet.h.
package capture
