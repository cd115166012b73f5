package bus

import (
	"fmt"
	"strconv"
)

// Record is one unit of a layer. What Type, Aux and Stream mean depends on the
// layer; see the constants. In the hands of a Stage, a Record and its Payload
// are only valid during the call: who keeps bytes copies them.
type Record struct {
	Layer   Layer
	Type    Type
	Dir     Dir
	Flags   Flags
	Conn    ConnID // 0: none
	Offset  uint64 // byte offset in (Conn, Dir); frame index on Frames
	Time    int64  // Unix time in ns, the packet's time
	Stream  uint64 // HTTP stream on Body, QUIC stream on Plain, interface index on Frames, thread id on Keys
	Aux     uint32 // original length on Frames, missing bytes in Gap, pid on Keys
	Payload []byte

	// Event is the typed form of the JSON layers (HTTP, Proc) inside a process;
	// on the bus it is the line. Payload is nil where Event is set.
	Event any

	// Pos is the sequence of the input message that held the record. Drivers
	// set it; a stage remembers it for Low. It is not part of the record.
	Pos uint64
}

// Type says what a record is, within its layer.
type Type uint16

// Types of the stream layers: TCP, UDP and Plain. The life of a connection:
// Open, then Established, Data, Gap, Fin, Reset, Info and Verdict in any number, then End.
const (
	Open        Type = 1 + iota // Payload: JSON of ConnOpen. First record of a connection
	Established                 // the SYN/ACK was seen at Time
	Data                        // Payload: bytes at Offset (a whole datagram on UDP)
	Gap                         // Aux bytes at Offset were never captured
	Fin                         // direction Dir ended in order at Offset; of QUIC: that of Stream
	Reset                       // the sender of Dir reset the connection; of QUIC: Stream, or closed AllStreams, Aux: error code, Payload: reason
	End                         // Payload: JSON of ConnEnd. Last record of a connection
	Info                        // Plain only. Payload: JSON of TLSInfo; each replaces the one before
	Opaque                      // Plain only. Payload: JSON of Verdict: why the connection cannot be read
	Unreachable                 // Payload: ICMP type and code (2 bytes) that ended the attempt
	Resent                      // Aux segments of Dir were sent again; not on UDP
)

// AllStreams is the Stream of a Reset on Plain that says that a QUIC connection was closed
// (CONNECTION_CLOSE). No stream has such an id (RFC 9000, section 2.1). Other
// records of a QUIC connection, which is one over UDP with an Info, have the stream
// and the offset in it.
const AllStreams = ^uint64(0)

// Types of other layers.
const (
	Secret    Type = 32 // Keys. Payload: AppendSecret
	BodyBytes Type = 33 // Body. Payload: bytes at Offset of the message body (Conn, Stream, Dir)
	Line      Type = 34 // HTTP and Proc: Event, or Payload: one JSON object
)

// Link types on Frames: Type is the LINKTYPE_ value of the pcap-ng registry,
// for example 1 Ethernet, 101 raw IP, 113 Linux SLL, 276 SLL2.

// EOS ends a partition of a layer, on every layer: nothing follows.
const EOS Type = 0xffff

// Dropped is a loss that the capture counted: Aux frames are missing here (Frames).
const Dropped Type = 0xfffe

// Dir is a direction within a connection.
type Dir uint8

// Directions. The client is who sent the first SYN, or, when that was not
// seen, who is more likely to be it.
const (
	ClientToServer Dir = 0
	ServerToClient Dir = 1
)

// Flags qualify a record.
type Flags uint16

// Flags.
const (
	CsumNotReady Flags = 1 << iota // Frames: checksum offload, the checksum is not filled in
	Outgoing                       // Frames: sent by the sandboxed side
	Truncated                      // Frames: captured less than Aux; Data: cut by a limit
	Conflict                       // Data: a retransmission with other bytes was dropped
	Early                          // Data on Plain: TLS 1.3 0-RTT
)

// ConnID identifies a connection within a session: unique, never reused, and
// the same whenever the log is replayed.
type ConnID uint64

// String is 16 hex digits, as in JSON.
func (c ConnID) String() string { return fmt.Sprintf("%016x", uint64(c)) }

// MarshalText implements encoding.TextMarshaler.
func (c ConnID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *ConnID) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return fmt.Errorf("bus: connection id %q: %w", b, err)
	}
	*c = ConnID(v)
	return nil
}
