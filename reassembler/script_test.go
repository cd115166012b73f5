package reassembler_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/reassembler"
	"clipper/reassembler/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the golden part of testdata/*.txt")

// TestScripts plays testdata/*.txt. The part of a file above the line "---" is
// a conversation, the part below is what the stage gives. A line is one of
//
//	conn NAME CLIENT SERVER ISN ISN   a connection; "" is predefined
//	link NAME                         the link of what follows
//	wait TIME
//	play                              the frames put aside by "later"
//	eos
//	[NAME]> FLAGS [WORD...]           a segment of the client
//	[NAME]< FLAGS [WORD...]           a segment of the server
//
// FLAGS are letters of FSRPAU, "udp", or "icmp=TYPE/CODE" which quotes the last
// segment of the other side. Each frame is 1 ms after the one before. Words:
//
//	"text" or N bytes as xN, x without effect on the next sequence number:
//	seq=N ack=N    offsets after the SYN; the default is what is next
//	win=N ws=N     window, window scale option
//	lost           sent, but not captured
//	later          captured at the next play
//	twice          captured twice
//	cut=N          the capture cut N bytes off
//	frag=N         in IP fragments of N bytes; reversed: the last first;
//	               overlap: the first has 8 bytes of the second, too; first: it alone
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source, want, _ := strings.Cut(string(text), "---\n")
			got := transcript(run(parseScript(t, source)))
			if *update {
				if err := os.WriteFile(file, []byte(source+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s gives\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// run feeds frames to a new stage and keeps copies of what it gives.
func run(frames []*bus.Record) []*bus.Record {
	var out []*bus.Record
	s := reassembler.New("test")
	for _, f := range frames {
		s.Process(f, func(r *bus.Record) { out = append(out, copyRecord(r)) })
	}
	return out
}

func copyRecord(r *bus.Record) *bus.Record {
	c := *r
	c.Payload = append([]byte(nil), r.Payload...)
	return &c
}

var typeNames = map[bus.Type]string{bus.Open: "open", bus.Established: "established", bus.Data: "data", bus.Gap: "gap", bus.Fin: "fin",
	bus.Reset: "reset", bus.End: "end", bus.Unreachable: "unreachable", bus.Resent: "resent", bus.EOS: "eos"}

// transcript writes records one a line: layer, time in ms, connection in the
// order of appearance, direction, what.
func transcript(records []*bus.Record) string {
	var b strings.Builder
	names := map[bus.ConnID]string{}
	for _, r := range records {
		if r.Type == bus.EOS {
			fmt.Fprintf(&b, "%v eos\n", r.Layer)
			continue
		}
		if names[r.Conn] == "" {
			names[r.Conn] = "c" + strconv.Itoa(len(names)+1)
		}
		fmt.Fprintf(&b, "%v %v %s %c %s", r.Layer, time.Duration(r.Time-start), names[r.Conn], "><"[r.Dir], typeNames[r.Type])
		switch r.Type {
		case bus.Open:
			var o bus.ConnOpen
			if err := json.Unmarshal(r.Payload, &o); err != nil {
				panic(err)
			}
			fmt.Fprintf(&b, " %v %v", o.Client, o.Server)
			if o.Partial {
				b.WriteString(" partial")
			}
		case bus.End:
			fmt.Fprintf(&b, " %s", r.Payload)
		case bus.Gap:
			fmt.Fprintf(&b, " @%d +%d", r.Offset, r.Aux)
		case bus.Data:
			fmt.Fprintf(&b, " @%d", r.Offset)
			if len(r.Payload) > 80 {
				fmt.Fprintf(&b, " %d bytes", len(r.Payload))
			} else {
				fmt.Fprintf(&b, " %q", r.Payload)
			}
		case bus.Fin, bus.Reset:
			fmt.Fprintf(&b, " @%d", r.Offset)
		case bus.Unreachable:
			fmt.Fprintf(&b, " %d/%d", r.Payload[0], r.Payload[1])
		}
		if r.Flags&bus.Conflict != 0 {
			b.WriteString(" conflict")
		}
		if r.Flags&bus.Truncated != 0 {
			b.WriteString(" truncated")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const start = int64(1_700_000_000_000_000_000)

// script is the state of a conversation under construction.
type script struct {
	t      testing.TB
	frames []*bus.Record
	later  []*bus.Record
	now    int64
	link   string
	id     uint32
	conns  map[string]*scriptConn
}

type scriptConn struct {
	end  [2]netip.AddrPort
	isn  [2]uint32
	next [2]uint32
	last [2][]byte // IP packet
}

func parseScript(t testing.TB, source string) []*bus.Record {
	s := &script{t: t, now: start, link: "ethernet", conns: map[string]*scriptConn{}}
	s.connect("", "10.0.0.2:40000", "192.0.2.1:80", "1000", "5000")
	for line := range strings.Lines(source) {
		words := splitWords(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "conn":
			s.connect(words[1], words[2], words[3], words[4], words[5])
		case "link":
			s.link = words[1]
		case "wait":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				t.Fatal(err)
			}
			s.now += int64(d)
		case "play":
			for _, f := range s.later {
				s.add(f)
			}
			s.later = nil
		case "eos":
			s.add(&bus.Record{Layer: bus.Frames, Type: bus.EOS})
		default:
			s.packet(words)
		}
	}
	return s.frames
}

func splitWords(line string) (words []string) {
	line = strings.TrimSpace(line)
	for line != "" {
		end := strings.IndexByte(line, ' ')
		if line[0] == '"' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				panic(line)
			}
			end = len(q)
		}
		if end < 0 || end == len(line) {
			return append(words, line)
		}
		words = append(words, line[:end])
		line = strings.TrimSpace(line[end:])
	}
	return words
}

func (s *script) connect(name, client, server, isnC, isnS string) {
	c := &scriptConn{end: [2]netip.AddrPort{netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)}}
	c.isn = [2]uint32{uint32(s.number(isnC)), uint32(s.number(isnS))}
	c.next = c.isn
	s.conns[name] = c
}

func (s *script) number(w string) int64 {
	n, err := strconv.ParseInt(w, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) add(f *bus.Record) {
	s.now += int64(time.Millisecond)
	f.Time, f.Offset = s.now, uint64(len(s.frames))
	s.frames = append(s.frames, f)
}

func (s *script) packet(words []string) {
	name := words[0][:len(words[0])-1]
	c, d := s.conns[name], strings.IndexByte("><", words[0][len(words[0])-1])
	if c == nil || d < 0 || len(words) < 2 {
		s.t.Fatalf("script: %q", words)
	}
	p := tcpPacket{src: c.end[d], dst: c.end[1-d], seq: c.next[d], ack: c.next[1-d], window: 0xffff}
	for _, f := range words[1] {
		if i := strings.IndexRune("FSRPAU", f); i >= 0 {
			p.flags |= 1 << i
		}
	}
	var lost, later, twice, reversed, overlap, first, fixed bool
	var cut, frag int
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case w[0] == '"':
			text, err := strconv.Unquote(w)
			if err != nil {
				s.t.Fatal(w, err)
			}
			p.payload = []byte(text)
		case w[0] == 'x':
			p.payload = pattern(int(s.number(w[1:])))
		case key == "seq":
			p.seq, fixed = c.isn[d]+1+uint32(s.number(value)), true
		case key == "ack":
			p.ack = c.isn[1-d] + 1 + uint32(s.number(value))
		case key == "win":
			p.window = uint16(s.number(value))
		case key == "ws":
			p.options = []byte{2, 4, 5, 0xb4, 3, 3, byte(s.number(value))}
		case key == "cut":
			cut = int(s.number(value))
		case key == "frag":
			frag = int(s.number(value))
		case w == "lost":
			lost = true
		case w == "later":
			later = true
		case w == "twice":
			twice = true
		case w == "reversed":
			reversed = true
		case w == "overlap":
			overlap = true
		case w == "first":
			first = true
		default:
			s.t.Fatalf("script: word %q", w)
		}
	}
	s.id++
	var ips [][]byte
	switch kind, code, _ := strings.Cut(words[1], "="); kind {
	case "udp":
		ips = ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoUDP, s.id, udpHeader(p.src, p.dst, p.payload), frag)
	case "icmp":
		a, b, _ := strings.Cut(code, "/")
		quoted := c.last[1-d]
		data := append([]byte{byte(s.number(a)), byte(s.number(b)), 0, 0, 0, 0, 0, 0}, quoted[:min(len(quoted), 28)]...)
		proto := uint8(wire.ProtoICMP)
		if p.src.Addr().Is6() {
			proto, data = wire.ProtoICMPv6, append(data[:8], quoted...)
		}
		ips = ipPackets(p.src.Addr(), p.dst.Addr(), proto, s.id, data, frag)
	default:
		ips = ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoTCP, s.id, p.transport(), frag)
		if !fixed {
			c.next[d] += uint32(len(p.payload))
			if p.flags&(wire.SYN|wire.FIN) != 0 {
				c.next[d]++
			}
		}
	}
	if overlap {
		whole := append(ips[0][:len(ips[0]):len(ips[0])], ips[1][20:28]...) // IPv4 without options
		binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
		ips[0] = whole
	}
	if first {
		ips = ips[:1]
	}
	c.last[d] = ips[0]
	if lost {
		return
	}
	for i := range ips {
		if reversed {
			i = len(ips) - 1 - i
		}
		link, frame := linkFrame(s.link, ips[i])
		f := &bus.Record{Layer: bus.Frames, Type: bus.Type(link), Aux: uint32(len(frame)), Payload: frame[:len(frame)-cut]}
		if later {
			s.later = append(s.later, f)
			continue
		}
		s.add(f)
		if twice {
			s.add(copyRecord(f))
		}
	}
}

// pattern is n bytes that tell their place.
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = fmt.Appendf(b, "%07x ", len(b))
	}
	return b[:n]
}
