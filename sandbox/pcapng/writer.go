package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"clipper/bus"
)

// Options of a Writer; the zero value is usable.
type Options struct {
	Application string // who writes; "" is "Clipper"

	// InterfaceName names an interface by its index and LINKTYPE_. By default
	// index 1 is lo if it is Ethernet, and any other is "if" with its index.
	InterfaceName func(index uint64, linkType uint16) string

	// Directed says that the frames are those of package capture: one that is
	// not Outgoing came in, except on lo, where a frame has no direction, and
	// process events tell whose the connections are.
	Directed bool
}

// Writer writes a pcapng file of one section: frames, with their interface,
// direction, process and the losses before them, and the TLS secrets, so that
// Wireshark shows the file decrypted without any option.
//
// A secret stands before the first packet that needs it, which a program that
// reads the file once relies on. As the secret of a connection becomes known
// only after its first packets, the Writer holds frames back from a ServerHello
// (RFC 8446, section 4.1.3) on until the secrets are there, but never more than
// 1 s of packet time or 8 MiB. With Directed, it waits in the same way for the
// process of a new connection, 0.3 s at most. Flush lets all frames go: call it
// when nothing came for a second.
//
// The file is readable at any time: only whole blocks are written.
type Writer struct {
	w     io.Writer
	o     Options
	buf   []byte // whole blocks to write
	early []byte // blocks of secrets that came before the first interface
	err   error

	interfaces []writtenInterface
	index      map[interfaceKey]int
	dropped    uint64 // before the next frame
	hold       hold
	processes  processes
}

type interfaceKey struct {
	stream   uint64
	linkType uint16
}

type writtenInterface struct {
	undirected bool
	frames     uint64
	dropped    uint64
	last       int64 // time of the newest frame
}

// flushSize is how many bytes are gathered before they are written.
const flushSize = 128 << 10

// NewWriter writes the section header.
func NewWriter(w io.Writer, o Options) (*Writer, error) {
	f := &Writer{w: w, o: o, index: map[interfaceKey]int{}}
	if f.o.Application == "" {
		f.o.Application = "Clipper"
	}
	if f.o.InterfaceName == nil {
		f.o.InterfaceName = defaultName
	}
	b := beginBlock(nil, blockSection)
	b = le.AppendUint32(b, byteOrderMagic)
	b = le.AppendUint16(b, 1) // version 1.0
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, 1<<64-1) // length of the section: not known
	b = appendText(b, optOS, "Linux")
	b = appendText(b, optApplication, f.o.Application)
	f.buf = endBlock(appendEnd(b), 0)
	return f, f.Flush()
}

func defaultName(index uint64, linkType uint16) string {
	if index == 1 && linkType == linkEthernet {
		return "lo"
	}
	return fmt.Sprintf("if%d", index)
}

var le = binary.LittleEndian

// Write adds a record: a frame or a loss (bus.Frames), a secret (bus.Keys), or a
// process event (bus.Proc). Others, EOS among them, are passed over. It does not
// keep the record. An error is final.
func (f *Writer) Write(r *bus.Record) error {
	if f.err != nil {
		return f.err
	}
	switch {
	case r.Type == bus.EOS:
	case r.Layer == bus.Frames:
		f.take(r)
	case r.Layer == bus.Keys && r.Type == bus.Secret:
		if s, err := bus.ParseSecret(r); err == nil {
			f.secret(s)
		}
	case r.Layer == bus.Proc:
		if e, ok := r.Event.(*bus.ProcEvent); ok {
			if connection, ok := f.processes.learn(e); ok && f.hold.answer(connection) {
				f.release()
			}
		}
	}
	if len(f.buf) >= flushSize {
		f.write()
	}
	return f.err
}

func (f *Writer) write() {
	if f.err == nil && len(f.buf) > 0 {
		if _, err := f.w.Write(f.buf); err != nil {
			f.err = fmt.Errorf("write capture file: %w", err)
		}
	}
	f.buf = f.buf[:0]
	if cap(f.buf) > 8*flushSize {
		f.buf = nil
	}
}

// Flush writes all that was added, the frames that wait for a secret included.
func (f *Writer) Flush() error {
	f.release()
	f.write()
	return f.err
}

// Names writes names of an address, for example those that DNS gave it.
func (f *Writer) Names(addr netip.Addr, names ...string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" || len(n) > 255 || strings.Contains(n, "\x00") })
	if len(names) == 0 || f.err != nil || !addr.IsValid() {
		return f.err
	}
	names = names[:min(len(names), 64)]
	value, typ := addr.AsSlice(), uint16(nameIPv6)
	if addr.Is4() {
		typ = nameIPv4
	}
	for _, n := range names {
		value = append(append(value, n...), 0)
	}
	b, start := beginBlock(f.buf, blockNames), len(f.buf)
	b = appendOption(b, typ, value)
	f.buf = endBlock(appendEnd(b), start) // the end of the records looks as that of options
	return nil
}

// Close writes the statistics of each interface and all that waits. It does not
// close the output.
func (f *Writer) Close() error {
	f.release()
	f.earlySecrets()
	for i, ifc := range f.interfaces {
		if i == 0 {
			ifc.dropped += f.dropped
		}
		start := len(f.buf)
		b := beginBlock(f.buf, blockStatistics)
		b = le.AppendUint32(b, uint32(i))
		b = appendTime(b, ifc.last)
		b = appendOption(b, optStatReceived, le.AppendUint64(nil, ifc.frames+ifc.dropped))
		b = appendOption(b, optStatDropped, le.AppendUint64(nil, ifc.dropped))
		f.buf = endBlock(appendEnd(b), start)
	}
	return f.Flush()
}

// take writes a frame or a loss, or lets it wait.
func (f *Writer) take(r *bus.Record) {
	if r.Type != bus.Dropped {
		if p, ok := parsePacket(uint16(r.Type), r.Payload); ok {
			f.hold.look(&p, r)
			if f.o.Directed && !f.undirected(r) {
				f.hold.ask(&p, r)
			}
		}
	}
	if !f.hold.holding() {
		f.frame(r)
		return
	}
	f.hold.add(r)
	if r.Type != bus.Dropped && f.hold.expire(r.Time) {
		f.release()
	}
}

// frame adds an Enhanced Packet Block.
func (f *Writer) frame(r *bus.Record) {
	if r.Type == bus.Dropped {
		f.dropped += uint64(r.Aux)
		return
	}
	id := f.describe(r)
	ifc := &f.interfaces[id]
	ifc.frames++
	ifc.dropped += f.dropped
	ifc.last = max(ifc.last, r.Time)
	process, comment := f.processOf(r)

	start := len(f.buf)
	b := beginBlock(f.buf, blockEnhanced)
	b = le.AppendUint32(b, uint32(id))
	b = appendTime(b, r.Time)
	b = le.AppendUint32(b, uint32(len(r.Payload)))
	b = le.AppendUint32(b, r.Aux)
	data := len(b)
	b = appendPadded(b, r.Payload)
	if r.Flags&bus.CsumNotReady != 0 && r.Flags&bus.Truncated == 0 {
		fillChecksum(uint16(r.Type), b[data:data+len(r.Payload)])
	}
	options := len(b)
	if d := f.directionOf(r, ifc); d != 0 {
		b = appendOption(b, optFlags, le.AppendUint32(nil, d))
	}
	if f.dropped > 0 {
		b = appendOption(b, optDropCount, le.AppendUint64(nil, f.dropped))
		f.dropped = 0
	}
	if process >= 0 {
		b = appendOption(b, optProcess, le.AppendUint32(nil, uint32(process)))
	}
	if comment != "" {
		b = appendText(b, optComment, comment)
	}
	if len(b) > options {
		b = appendEnd(b)
	}
	f.buf = endBlock(b, start)
}

// processOf returns the number of the process block for a frame, -1 without,
// and a comment.
func (f *Writer) processOf(r *bus.Record) (block int, comment string) {
	p, ok := parsePacket(uint16(r.Type), r.Payload)
	if !ok {
		return -1, ""
	}
	if block, comment = f.processes.of(&p); block >= 0 {
		f.buf = f.processes.appendNew(f.buf)
	}
	return block, comment
}

// undirected reports whether the interface of a frame is lo.
func (f *Writer) undirected(r *bus.Record) bool { return f.interfaces[f.describe(r)].undirected }

func (f *Writer) directionOf(r *bus.Record, ifc *writtenInterface) uint32 {
	switch {
	case r.Flags&bus.Outgoing != 0:
		return flagsOutbound
	case f.o.Directed && !ifc.undirected:
		return flagsInbound
	}
	return 0
}

// describe returns the number of a frame's interface in the section and adds
// the Interface Description Block when there was none.
func (f *Writer) describe(r *bus.Record) int {
	key := interfaceKey{r.Stream, uint16(r.Type)}
	if id, ok := f.index[key]; ok {
		return id
	}
	id := len(f.interfaces)
	name := f.o.InterfaceName(r.Stream, key.linkType)
	f.index[key] = id
	f.interfaces = append(f.interfaces, writtenInterface{undirected: name == "lo"})
	start := len(f.buf)
	b := beginBlock(f.buf, blockInterface)
	b = le.AppendUint16(b, key.linkType)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, 0) // packets are not cut
	b = appendText(b, optIfName, name)
	b = appendOption(b, optIfResolution, []byte{9})
	f.buf = endBlock(appendEnd(b), start)
	f.earlySecrets()
	return id
}

// secret adds a Decryption Secrets Block, in front of the frames that wait.
func (f *Writer) secret(s *bus.TLSSecret) {
	line := s.KeyLogLine() + "\n"
	to := &f.buf
	if len(f.interfaces) == 0 {
		to = &f.early
	}
	start := len(*to)
	b := beginBlock(*to, blockSecrets)
	b = le.AppendUint32(b, secretsTLS)
	b = le.AppendUint32(b, uint32(len(line)))
	b = appendPadded(b, []byte(line))
	*to = endBlock(b, start)
	if len(f.early) > flushSize {
		f.earlySecrets()
	}
	if f.hold.learn(s) {
		f.release()
	}
}

// earlySecrets writes the secrets that came before any interface. editcap takes
// the link type of a file from what stands before the first other block.
func (f *Writer) earlySecrets() {
	f.buf = append(f.buf, f.early...)
	f.early = nil
}

// release lets the frames go that wait.
func (f *Writer) release() {
	f.hold.clear(func(r *bus.Record) {
		f.frame(r)
		if len(f.buf) >= flushSize {
			f.write()
		}
	})
}
