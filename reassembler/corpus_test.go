package reassembler_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clipper/bus"
)

const corpus = "../../shared/corpus"

var askTshark = flag.Bool("tshark", false, "run tshark over the corpus and rewrite testdata/corpus/tshark.txt")

// TestCorpus runs every capture of the corpus through the stage and compares
// the streams with what tshark made of them, as recorded in
// testdata/corpus/tshark.txt. Where the two differ, testdata/corpus/differences.txt has the
// reason and what the stage gives.
func TestCorpus(t *testing.T) {
	captures := corpusCaptures(t)
	oracle, explained := readStreams(t, "testdata/corpus/tshark.txt"), readStreams(t, "testdata/corpus/differences.txt")
	for _, name := range captures {
		t.Run(name, func(t *testing.T) {
			frames := append(readCapture(t, filepath.Join(corpus, name)), &bus.Record{Layer: bus.Frames, Type: bus.EOS})
			records := run(frames)
			checkLife(t, records)
			if *askTshark {
				oracle[name] = tsharkStreams(t, filepath.Join(corpus, name))
			}
			got, want := streams(t, records), oracle[name]
			if e, ok := explained[name]; ok {
				if slices.Equal(got, want) {
					t.Errorf("%s is explained in differences.txt, but equal to tshark's", name)
				}
				want = e
			}
			if !slices.Equal(got, want) {
				t.Errorf("streams\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	if *askTshark {
		writeStreams(t, "testdata/corpus/tshark.txt", oracle)
	}
}

func corpusCaptures(t testing.TB) (names []string) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skip("no corpus: ", err)
	}
	err := filepath.Walk(corpus, func(path string, info os.FileInfo, err error) error {
		if err == nil && regexp.MustCompile(`\.(pcap|pcapng|cap)(\.gz)?$`).MatchString(path) {
			name, _ := filepath.Rel(corpus, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// checkLife checks what holds for the records of every capture: the life of a
// connection as bus documents it, and offsets without holes.
func checkLife(t *testing.T, records []*bus.Record) {
	t.Helper()
	type life struct {
		next  [2]uint64
		ended bool
		lost  uint64
	}
	conns := map[bus.ConnID]*life{}
	for i, r := range records {
		if r.Type == bus.EOS {
			if i < len(records)-2 {
				t.Error("records after EOS")
			}
			continue
		}
		l := conns[r.Conn]
		switch {
		case r.Type == bus.Open && l == nil:
			conns[r.Conn] = &life{}
			continue
		case l == nil:
			t.Fatalf("record %d before Open of %v", i, r.Conn)
		case r.Type == bus.Open:
			t.Fatalf("%v opened twice", r.Conn)
		case l.ended:
			t.Fatalf("record %d after End of %v", i, r.Conn)
		}
		switch r.Type {
		case bus.Data, bus.Gap, bus.Fin, bus.Reset:
			if r.Offset != l.next[r.Dir] && !(r.Layer == bus.UDP && r.Offset > l.next[r.Dir]) {
				t.Fatalf("record %d of %v has offset %d, want %d", i, r.Conn, r.Offset, l.next[r.Dir])
			}
			if r.Type == bus.Data && r.Layer == bus.TCP && len(r.Payload) == 0 || r.Type == bus.Gap && r.Aux == 0 {
				t.Fatalf("record %d of %v is empty", i, r.Conn)
			}
			if r.Type == bus.Gap {
				l.lost += uint64(r.Aux)
			}
			l.next[r.Dir] = r.Offset + uint64(len(r.Payload)) + uint64(r.Aux)
		case bus.End:
			l.ended = true
			var e bus.ConnEnd
			if err := json.Unmarshal(r.Payload, &e); err != nil {
				t.Fatal(err)
			}
			if e.LostBytes != l.lost {
				t.Fatalf("%v lost %d bytes and says %d", r.Conn, l.lost, e.LostBytes)
			}
		}
	}
	for id, l := range conns {
		if !l.ended {
			t.Errorf("%v has no End", id)
		}
	}
	if n := len(records); n < 2 || records[n-2].Type != bus.EOS || records[n-1].Type != bus.EOS {
		t.Error("no EOS")
	}
}

// side is what one end of a connection sent.
type side struct {
	end  netip.AddrPort
	data []byte // with a mark for each gap
	lost uint64 // of the gap at the end of data
	full int    // len(data) before that gap's mark
}

// gap marks missing bytes; gaps in a row are one.
func (s *side) gap(n uint64) {
	if s.lost > 0 {
		s.data = s.data[:s.full]
	}
	s.full, s.lost = len(s.data), s.lost+n
	s.data = fmt.Appendf(s.data, "\x00gap %d\x00", s.lost)
}

func (s *side) add(b []byte) { s.data, s.lost = append(s.data, b...), 0 }

// describe is one line for a connection, the same whichever end is first; ""
// if it carried nothing.
func describe(a, b side) string {
	if len(a.data)+len(b.data) == 0 {
		return ""
	}
	if a.end.Compare(b.end) > 0 {
		a, b = b, a
	}
	one := func(s side) string {
		sum := sha256.Sum256(s.data)
		return fmt.Sprintf("%v %d %s", s.end, len(s.data), hex.EncodeToString(sum[:4]))
	}
	return one(a) + " " + one(b)
}

// streams describes the TCP connections of the records, sorted.
func streams(t *testing.T, records []*bus.Record) (lines []string) {
	type conn [2]side
	conns := map[bus.ConnID]*conn{}
	var order []*conn
	for _, r := range records {
		if r.Layer != bus.TCP {
			continue
		}
		switch r.Type {
		case bus.Open:
			var o bus.ConnOpen
			if err := json.Unmarshal(r.Payload, &o); err != nil {
				t.Fatal(err)
			}
			c := &conn{{end: o.Client}, {end: o.Server}}
			conns[r.Conn] = c
			order = append(order, c)
		case bus.Data:
			conns[r.Conn][r.Dir].add(r.Payload)
		case bus.Gap:
			conns[r.Conn][r.Dir].gap(uint64(r.Aux))
		}
	}
	for _, c := range order {
		if d := describe(c[0], c[1]); d != "" {
			lines = append(lines, d)
		}
	}
	slices.Sort(lines)
	return lines
}

var missing = regexp.MustCompile(`^\[(\d+) bytes missing in capture file\]\x00?$`)

// tsharkStreams asks tshark for the same.
func tsharkStreams(t *testing.T, file string) (lines []string) {
	base := []string{"-n", "-o", "tcp.reassemble_out_of_order:TRUE", "-r", file}
	out, _ := exec.Command("tshark", append(base, "-T", "fields", "-e", "tcp.stream", "-Y", "tcp")...).Output()
	count := 0
	for f := range strings.FieldsFuncSeq(string(out), func(r rune) bool { return r == '\n' || r == ',' }) {
		n, _ := strconv.Atoi(f)
		count = max(count, n+1)
	}
	if count == 0 {
		return nil
	}
	args := append(base, "-q")
	for i := range count {
		args = append(args, "-z", "follow,tcp,raw,"+strconv.Itoa(i))
	}
	out, _ = exec.Command("tshark", args...).Output()
	var node [2]side
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<26)
	for sc.Scan() {
		line := sc.Text()
		if i := strings.Index(line, "Node "); i == 0 && len(line) > 8 && line[6] == ':' {
			n := int(line[5] - '0')
			addr := line[8:]
			colon := strings.LastIndexByte(addr, ':')
			port, _ := strconv.Atoi(addr[colon+1:])
			a, err := netip.ParseAddr(strings.Trim(addr[:colon], "[]"))
			if err != nil && addr != ":0" {
				t.Fatal(line, err)
			}
			node[n] = side{end: netip.AddrPortFrom(a, uint16(port))}
			continue
		}
		if strings.HasPrefix(line, "=====") {
			if d := describe(node[0], node[1]); d != "" {
				lines = append(lines, d)
			}
			node = [2]side{}
			continue
		}
		n := 0
		if strings.HasPrefix(line, "\t") {
			n = 1
		}
		data, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(data) == 0 {
			continue
		}
		if m := missing.FindSubmatch(data); m != nil {
			lost, _ := strconv.ParseUint(string(m[1]), 10, 64)
			node[n].gap(lost)
			continue
		}
		node[n].add(data)
	}
	slices.Sort(lines)
	return lines
}

// readStreams reads a file of captures, each a name, lines that begin with "#"
// and indented lines of streams.
func readStreams(t *testing.T, file string) map[string][]string {
	data, err := os.ReadFile(file)
	if err != nil && !*askTshark {
		t.Fatal(err)
	}
	out := map[string][]string{}
	name := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '\t':
			out[name] = append(out[name], line[1:])
		default:
			name = line
			out[name] = nil
		}
	}
	return out
}

func writeStreams(t *testing.T, file string, all map[string][]string) {
	var b strings.Builder
	b.WriteString("# Streams as tshark 4.0.17 follows them: for each connection with data the two ends,\n# the bytes that each sent (gaps marked) and the beginning of their SHA-256.\n")
	var names []string
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b.WriteString(n + "\n")
		for _, l := range all[n] {
			b.WriteString("\t" + l + "\n")
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
