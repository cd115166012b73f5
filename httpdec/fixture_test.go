package httpdec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"clipper/bus"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A script is a conversation, one record a line, each 1 ms after the one before:
//
//	open [udp] [server=ADDR] [partial]   Open, with the connection's addresses
//	tls ALPN [SNI]                 Info
//	alert SIDE NAME CODE           Info with a fatal alert
//	opaque CODE REASON             Opaque
//	> TEXT, < TEXT                 Data of the client or server, with Go escapes
//	>> FRAME, << FRAME             the same, an HTTP/2 frame; see frame
//	ask ID TYPE NAME               a DNS question of the client
//	answer ID TYPE NAME RCODE ADDR|NAME…   and its answer, with addresses and aliases
//	gap > N, fin >, reset <        Gap, Fin, Reset
//	resent >                       Resent
//	q> STREAM FRAME, q< STREAM FRAME   Data of a QUIC stream, a frame of HTTP/3; see frame3
//	qgap > STREAM N, qfin > STREAM, qreset < STREAM CODE, qclose > CODE REASON
//	                               Gap, Fin, Reset of a stream, and of the connection
//	wait SECONDS                   nothing
//	end REASON                     End
//
// Lines that begin with # are comments; * after a TEXT and a number repeats it.
type script struct {
	t       testing.TB
	records []bus.Record
	time    int64
	conn    bus.ConnID
	udp     bool
	offset  [2]uint64
	offsets map[halfID]uint64 // of QUIC streams
	enc     [2]*hpack.Encoder
	encBuf  [2]bytes.Buffer
}

const scriptStart = 1_700_000_000_000_000_000

func parseScript(t testing.TB, text string) []bus.Record {
	s := &script{t: t, time: scriptStart}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		s.time += 1_000_000
		s.line(line)
	}
	for i := range s.records {
		s.records[i].Pos = uint64(i + 1)
	}
	return s.records
}

func (s *script) add(r bus.Record) {
	r.Layer, r.Conn, r.Time = bus.Plain, s.conn, s.time
	s.records = append(s.records, r)
}

func (s *script) bytes(dir bus.Dir, b []byte) {
	s.add(bus.Record{Type: bus.Data, Dir: dir, Offset: s.offset[dir], Payload: b})
	s.offset[dir] += uint64(len(b))
}

func (s *script) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	switch word {
	case "open":
		s.conn++
		s.offset, s.udp, s.offsets = [2]uint64{}, false, map[halfID]uint64{}
		for i := range s.enc {
			s.encBuf[i].Reset()
			s.enc[i] = hpack.NewEncoder(&s.encBuf[i])
		}
		o := bus.ConnOpen{Flow: bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort("10.0.2.100:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80")}}
		for _, a := range args {
			if v, ok := strings.CutPrefix(a, "server="); ok {
				o.Server = netip.MustParseAddrPort(v)
			} else if a == "udp" {
				o.Transport, s.udp = "udp", true
			} else {
				o.Partial = a == "partial"
			}
		}
		s.add(bus.Record{Type: bus.Open, Payload: mustJSON(o)})
	case "established":
		s.add(bus.Record{Type: bus.Established})
	case "tls":
		info := bus.TLSInfo{Version: "TLS 1.3", ALPN: args[0], PID: 4242}
		if len(args) > 1 {
			info.SNI = args[1]
		}
		s.add(bus.Record{Type: bus.Info, Payload: mustJSON(info)})
	case "alert":
		code, _ := strconv.Atoi(args[2])
		s.add(bus.Record{Type: bus.Info, Payload: mustJSON(bus.TLSInfo{Version: "TLS 1.3", SNI: "a.test",
			Alert: &bus.Alert{Dir: direction(args[0]), Level: "fatal", Description: args[1], Code: uint8(code), Time: s.time}})})
	case "opaque":
		code, reason, _ := strings.Cut(rest, " ")
		s.add(bus.Record{Type: bus.Opaque, Payload: mustJSON(bus.Verdict{Code: bus.VerdictCode(code), Reason: reason})})
	case ">", "<":
		s.bytes(direction(word), s.text(rest))
	case ">>", "<<":
		d := direction(word[:1])
		s.bytes(d, s.frame(d, args))
	case "ask", "answer":
		b := s.dns(args, word == "answer")
		if !s.udp {
			b = append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
		}
		s.bytes(direction(map[string]string{"ask": ">", "answer": "<"}[word]), b)
	case "wait":
		n, _ := strconv.Atoi(args[0])
		s.time += int64(n) * 1e9
	case "gap":
		n, _ := strconv.Atoi(args[1])
		s.add(bus.Record{Type: bus.Gap, Dir: direction(args[0]), Offset: s.offset[direction(args[0])], Aux: uint32(n)})
		s.offset[direction(args[0])] += uint64(n)
	case "q>", "q<":
		id := streamOf(word[1:], args[0])
		b := s.frame3(args[1:])
		s.add(bus.Record{Type: bus.Data, Dir: id.dir, Stream: id.stream, Offset: s.offsets[id], Payload: b})
		s.offsets[id] += uint64(len(b))
	case "qgap":
		id := streamOf(args[0], args[1])
		n, _ := strconv.Atoi(args[2])
		s.add(bus.Record{Type: bus.Gap, Dir: id.dir, Stream: id.stream, Offset: s.offsets[id], Aux: uint32(n)})
		s.offsets[id] += uint64(n)
	case "qfin":
		id := streamOf(args[0], args[1])
		s.add(bus.Record{Type: bus.Fin, Dir: id.dir, Stream: id.stream, Offset: s.offsets[id]})
	case "qreset":
		id := streamOf(args[0], args[1])
		code, _ := strconv.ParseUint(args[2], 0, 32)
		s.add(bus.Record{Type: bus.Reset, Dir: id.dir, Stream: id.stream, Offset: s.offsets[id], Aux: uint32(code)})
	case "qclose":
		code, _ := strconv.ParseUint(args[1], 0, 32)
		s.add(bus.Record{Type: bus.Reset, Dir: direction(args[0]), Stream: bus.AllStreams, Aux: uint32(code), Payload: []byte(strings.Join(args[2:], " "))})
	case "fin":
		s.add(bus.Record{Type: bus.Fin, Dir: direction(args[0])})
	case "resent":
		s.add(bus.Record{Type: bus.Resent, Dir: direction(args[0]), Aux: 1})
	case "reset":
		s.add(bus.Record{Type: bus.Reset, Dir: direction(args[0])})
	case "unreachable":
		s.add(bus.Record{Type: bus.Unreachable, Payload: []byte{3, 1}})
	case "end":
		s.add(bus.Record{Type: bus.End, Payload: mustJSON(bus.ConnEnd{Reason: bus.EndReason(rest)})})
	default:
		s.t.Fatalf("script: %q", line)
	}
}

// dns makes a message.
func (s *script) dns(args []string, answer bool) []byte {
	id, _ := strconv.Atoi(args[0])
	types := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "HTTPS": dnsmessage.TypeHTTPS}
	h := dnsmessage.Header{ID: uint16(id), RecursionDesired: true, Response: answer}
	if answer {
		code, _ := strconv.Atoi(args[3])
		h.RCode = dnsmessage.RCode(code)
	}
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	b.StartQuestions()
	name := dnsmessage.MustNewName(args[2])
	b.Question(dnsmessage.Question{Name: name, Type: types[args[1]], Class: dnsmessage.ClassINET})
	b.StartAnswers()
	rh := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}
	for i := 4; i < len(args); i++ {
		a, err := netip.ParseAddr(args[i])
		switch {
		case err != nil:
			b.CNAMEResource(rh, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(args[i])})
			rh.Name = dnsmessage.MustNewName(args[i])
		case a.Is4():
			b.AResource(rh, dnsmessage.AResource{A: a.As4()})
		default:
			b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	m, err := b.Finish()
	if err != nil {
		s.t.Fatalf("script: %q: %v", args, err)
	}
	return m
}

// text undoes the escapes of Go strings.
func (s *script) text(quoted string) []byte {
	v, err := strconv.Unquote(`"` + strings.ReplaceAll(quoted, `"`, `\"`) + `"`)
	if err != nil {
		s.t.Fatalf("script: %q: %v", quoted, err)
	}
	return []byte(v)
}

// frame makes an HTTP/2 frame: preface | settings [TABLESIZE] |
// headers ID [end] [split] N=V… | push ID PROMISED N=V… | data ID [end] [pad] TEXT |
// rst ID CODE | goaway LAST CODE | ping | window ID
func (s *script) frame(dir bus.Dir, args []string) []byte {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	num := func(i int) uint32 { n, _ := strconv.ParseUint(args[i], 10, 32); return uint32(n) }
	opt := func(name string, i int) bool {
		if i < len(args) && args[i] == name {
			args = append(args[:i:i], args[i+1:]...)
			return true
		}
		return false
	}
	switch args[0] {
	case "preface":
		return []byte(clientPreface)
	case "settings":
		if len(args) > 1 {
			f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: num(1)})
		} else {
			f.WriteSettings()
		}
	case "headers":
		end, split := opt("end", 2), opt("split", 2)
		block := s.fields(dir, args[2:])
		if split {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: num(1), EndStream: end, BlockFragment: block[:3]})
			f.WriteContinuation(num(1), false, block[3:4])
			f.WriteContinuation(num(1), true, block[4:])
		} else {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: num(1), EndStream: end, EndHeaders: true, BlockFragment: block})
		}
	case "push":
		f.WritePushPromise(http2.PushPromiseParam{StreamID: num(1), PromiseID: num(2), EndHeaders: true, BlockFragment: s.fields(dir, args[3:])})
	case "data":
		end := opt("end", 2)
		if opt("pad", 2) {
			f.WriteDataPadded(num(1), end, s.text(strings.Join(args[2:], " ")), make([]byte, 5))
		} else {
			f.WriteData(num(1), end, s.text(strings.Join(args[2:], " ")))
		}
	case "rst":
		f.WriteRSTStream(num(1), http2.ErrCode(num(2)))
	case "goaway":
		f.WriteGoAway(num(1), http2.ErrCode(num(2)), nil)
	case "ping":
		f.WritePing(false, [8]byte{})
	case "window":
		f.WriteWindowUpdate(num(1), 1000)
	default:
		s.t.Fatalf("script: frame %q", args)
	}
	return b.Bytes()
}

func streamOf(dir, stream string) halfID {
	n, _ := strconv.ParseUint(stream, 10, 62)
	return halfID{n, direction(dir)}
}

// frame3 makes a piece of a stream of HTTP/3: headers N=V… | section HEX | data TEXT |
// settings [ID VALUE] | goaway ID | grease TEXT | bytes HEX
func (s *script) frame3(args []string) []byte {
	frame := func(typ uint64, payload []byte) []byte {
		return append(quicvarint.Append(quicvarint.Append(nil, typ), uint64(len(payload))), payload...)
	}
	num := func(i int) uint64 { n, _ := strconv.ParseUint(args[i], 0, 62); return n }
	rest := strings.Join(args[1:], " ")
	switch args[0] {
	case "headers":
		var b bytes.Buffer
		e := qpack.NewEncoder(&b)
		for _, a := range args[1:] {
			i := strings.IndexByte(a[1:], '=') + 1 // names may begin with a colon
			e.WriteField(qpack.HeaderField{Name: a[:i], Value: a[i+1:]})
		}
		return frame(frame3Headers, b.Bytes())
	case "section", "bytes":
		b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			s.t.Fatalf("script: %q: %v", args, err)
		}
		if args[0] == "bytes" {
			return b
		}
		return frame(frame3Headers, b)
	case "data":
		return frame(frame3Data, s.text(rest))
	case "settings":
		var b []byte
		for i := 1; i+1 < len(args); i += 2 {
			b = quicvarint.Append(quicvarint.Append(b, num(i)), num(i+1))
		}
		return frame(frame3Settings, b)
	case "goaway":
		return frame(frame3GoAway, quicvarint.Append(nil, num(1)))
	case "grease":
		return frame(0x21+0x1f*7, s.text(rest))
	}
	s.t.Fatalf("script: frame %q", args)
	return nil
}

func (s *script) fields(dir bus.Dir, args []string) []byte {
	s.encBuf[dir].Reset()
	for _, a := range args {
		i := strings.LastIndexByte(a[:strings.IndexByte(a[1:], '=')+1], ' ') // names may begin with a colon
		name, value, _ := strings.Cut(a[i+1:], "=")
		s.enc[dir].WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return bytes.Clone(s.encBuf[dir].Bytes())
}

func direction(s string) bus.Dir {
	if s == "<" || s == "server" {
		return bus.ServerToClient
	}
	return bus.ClientToServer
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// run decodes records and returns the events as lines, body bytes among them.
func run(t testing.TB, records []bus.Record) []string {
	var lines []string
	s := New()
	for i := range records {
		s.Process(&records[i], func(r *bus.Record) { lines = append(lines, show(r)) })
	}
	s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, func(r *bus.Record) { lines = append(lines, show(r)) })
	if s.Low() != bus.None {
		t.Errorf("Low is %d after EOS", s.Low())
	}
	return lines
}

func show(r *bus.Record) string {
	if r.Layer == bus.Body {
		if r.Type == bus.EOS {
			return "body eos"
		}
		return fmt.Sprintf("body %d.%d %d @%d %s", r.Conn, r.Stream, r.Dir, r.Offset, abbreviate(r.Payload))
	}
	e := *r.Event.(*bus.Event)
	return string(mustJSON(e))
}

func abbreviate(b []byte) string {
	s := strconv.Quote(string(b))
	if len(s) > 120 {
		s = fmt.Sprintf("%s… (%d bytes)", s[:100], len(b))
	}
	return s
}

// golden compares what a script decodes to with the file beside it.
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(run(t, parseScript(t, string(text))), "\n") + "\n"
			got = shortTimes.Replace(got)
			name := strings.TrimSuffix(file, ".txt") + ".golden"
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s; -update rewrites it\n%s", name, firstDifference(got, string(want)))
			}
		})
	}
}

// shortTimes makes the goldens readable: times in ms since the script began.
var shortTimes = func() *strings.Replacer {
	var list []string
	for ms := range 400 {
		list = append(list, strconv.FormatInt(scriptStart+int64(ms)*1_000_000, 10), strconv.Itoa(ms))
	}
	return strings.NewReplacer(list...)
}()

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			line := "(end)"
			if i < len(w) {
				line = w[i]
			}
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], line)
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}
