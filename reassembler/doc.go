// Package reassembler turns link-layer frames into TCP byte streams and UDP
// datagrams. It takes bus.Frames and gives bus.TCP and bus.UDP.
//
// It stands between the two ends of every conversation and follows both as
// their peers would (RFC 9293): in-order payload passes at once, out-of-order
// payload waits, what is missing becomes a bus.Gap once the receiver has
// acknowledged it or the connection ends.
//
// # Forgetting and replay
//
// A replay may begin in the middle of something that the first run had
// forgotten by then, and see only its tail. So that this leaves no trace,
// whatever can begin in the middle (a connection without handshake, a flow of
// datagrams, a fragmented packet) is forgotten a fixed packet time after its
// last packet, and whatever has ended is remembered for that time after its
// last packet too: where the first run forgets, the replay has forgotten.
package reassembler
