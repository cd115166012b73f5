package httpdec

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clipper/bus"
)

const corpus = "../../shared/corpus"

// capture is a recorded file as tshark reads it: the records that would reach
// this stage, and the messages that tshark finds.
type capture struct {
	records  []bus.Record
	messages []string // "METHOD target" and "status"
}

// segment is one TCP segment.
type segment struct {
	seq   uint32
	flags int
	data  []byte
	time  int64
}

// readCapture lets tshark dissect, and puts the segments of each connection in
// order, as simply as the test needs it.
func readCapture(t *testing.T, file string) *capture {
	fields := []string{"tcp.stream", "frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
		"tcp.seq_raw", "tcp.flags", "tcp.payload", "http.request.method", "http.request.uri", "http.response.code",
		"http2.headers.method", "http2.headers.path", "http2.headers.status"}
	args := []string{"-n", "-r", file, "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "ip.check_checksum:FALSE", "-Y", "tcp", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Skipf("tshark: %v", err)
	}
	c := &capture{}
	type half struct {
		next    uint32
		known   bool
		offset  uint64
		waiting []segment
		fin     bool
	}
	type tcp struct {
		id     bus.ConnID
		client netip.AddrPort
		halves [2]half
		ended  bool
	}
	conns := map[string]*tcp{}
	var order []*tcp
	add := func(k *tcp, r bus.Record) {
		r.Layer, r.Conn, r.Pos = bus.Plain, k.id, uint64(len(c.records)+1)
		c.records = append(c.records, r)
	}
	var accept func(k *tcp, dir bus.Dir, s segment)
	accept = func(k *tcp, dir bus.Dir, s segment) {
		h := &k.halves[dir]
		if s.flags&2 != 0 { // SYN
			h.next, h.known = s.seq+1, true
			s.seq++
		}
		if !h.known && (len(s.data) > 0 || s.flags&1 != 0) {
			h.next, h.known = s.seq, true
		}
		if ahead := int32(s.seq - h.next); ahead > 0 && len(s.data)+s.flags&1 > 0 {
			h.waiting = append(h.waiting, s)
			return
		} else if ahead < 0 {
			if int(-ahead) > len(s.data) {
				return
			}
			s.data = s.data[-ahead:]
		}
		if len(s.data) > 0 {
			add(k, bus.Record{Type: bus.Data, Dir: dir, Offset: h.offset, Time: s.time, Payload: s.data})
			h.offset += uint64(len(s.data))
			h.next += uint32(len(s.data))
		}
		if s.flags&1 != 0 && !h.fin {
			h.fin = true
			add(k, bus.Record{Type: bus.Fin, Dir: dir, Time: s.time})
		}
		if s.flags&4 != 0 && !k.ended {
			add(k, bus.Record{Type: bus.Reset, Dir: dir, Time: s.time})
		}
		for i, w := range h.waiting {
			if int32(w.seq-h.next) <= 0 {
				h.waiting = slices.Delete(h.waiting, i, i+1)
				accept(k, dir, w)
				return
			}
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(f) < len(fields) || strings.Contains(f[0], ",") { // TCP inside TCP
			continue
		}
		addr := func(ip, ip6, port string) netip.AddrPort {
			if ip == "" {
				ip = ip6
			}
			ip, _, _ = strings.Cut(ip, ",")
			a, _ := netip.ParseAddr(ip)
			p, _ := strconv.Atoi(port)
			return netip.AddrPortFrom(a, uint16(p))
		}
		src, dst := addr(f[2], f[3], f[4]), addr(f[5], f[6], f[7])
		seq, _ := strconv.ParseUint(f[8], 10, 32)
		flags, _ := strconv.ParseInt(strings.TrimPrefix(f[9], "0x"), 16, 32)
		secs, _ := strconv.ParseFloat(f[1], 64)
		data, _ := hex.DecodeString(f[10])
		k := conns[f[0]]
		if k == nil {
			o := bus.ConnOpen{Flow: bus.Flow{Transport: "tcp", Client: src, Server: dst}, Partial: flags&2 == 0}
			if flags&0x12 == 0x12 || flags&2 == 0 && src.Port() < dst.Port() {
				o.Client, o.Server = dst, src
			}
			k = &tcp{id: bus.ConnID(len(conns) + 1), client: o.Client}
			conns[f[0]] = k
			order = append(order, k)
			add(k, bus.Record{Type: bus.Open, Time: int64(secs * 1e9), Payload: mustJSON(o)})
		}
		dir := bus.ClientToServer
		if src != k.client {
			dir = bus.ServerToClient
		}
		accept(k, dir, segment{uint32(seq), int(flags), data, int64(secs * 1e9)})
		methods, uris := strings.Split(f[11], ","), f[12]
		for i, m := range methods {
			if m == "" {
				continue
			}
			uri := uris
			if len(methods) > 1 {
				uri = strings.Split(uris, ",")[i]
			}
			c.messages = append(c.messages, m+" "+uri)
		}
		for s := range strings.SplitSeq(f[13]+","+f[16], ",") {
			if s != "" {
				c.messages = append(c.messages, s)
			}
		}
		if f[14] != "" {
			paths := strings.Split(f[15], ",")
			for i, m := range strings.Split(f[14], ",") {
				c.messages = append(c.messages, m+" "+paths[i])
			}
		}
	}
	for _, k := range order {
		for dir := range bus.Dir(2) {
			h := &k.halves[dir]
			for len(h.waiting) > 0 {
				slices.SortFunc(h.waiting, func(a, b segment) int { return int(int32(a.seq - b.seq)) })
				w := h.waiting[0]
				h.waiting = h.waiting[1:]
				if lost := int32(w.seq - h.next); lost > 0 {
					add(k, bus.Record{Type: bus.Gap, Dir: dir, Offset: h.offset, Aux: uint32(lost), Time: w.time})
					h.offset += uint64(lost)
					h.next = w.seq
				}
				accept(k, dir, w)
			}
		}
		add(k, bus.Record{Type: bus.End, Payload: mustJSON(bus.ConnEnd{Reason: bus.EndFIN})})
	}
	slices.Sort(c.messages)
	return c
}

// explained are the captures in which tshark sees other messages than we, and why.
var explained = map[string]string{
	"zeek/http/1000-requests-one-dropped-response.pcap.gz": gapped,
	"zeek/http/bro.org.pcap":                               gapped,
	"zeek/http/content-range-gap-skip.pcap":                gapped,
	"zeek/http/content-range-gap.pcap":                     gapped,
	"zeek/http/entity_gap.pcap":                            gapped,
	"zeek/http/entity_gap2.pcap":                           gapped,
	"zeek/http/zero-length-bodies-with-drops.pcap":         gapped,
	"arkime/http-tcp-seq-issue.pcap":                       gapped,
	"zeek/http/get-to-ssh-server.pcap":                     byPort,
	"zeek/http/http-single-conn-22.pcap":                   byPort,
	"zeek/http/http-to-ssh.pcap":                           byPort,
	"zeek/http/putty-upload.pcap":                          byPort,
	"zeek/http/zeek-image-post-1080-8000-x.pcap":           byPort,
	"zeek/http/query-method-non-standard-port.pcap":        "tshark does not know the method QUERY",
	"zeek/http/query-method.pcap":                          "tshark does not know the method QUERY",
	"zeek/http/http_09.pcap":                               "tshark does not know HTTP/0.9",
	"zeek/http/no-version.pcap":                            "tshark does not know HTTP/0.9",
	"zeek/http/connect-with-smtp.pcap":                     "the target is kept as sent: with a space in it",
	"zeek/http/no-uri.pcap":                                "the line is GET, two spaces and a version: no target",
	"zeek/http/methods.pcap":                               "malformed request lines are cut differently",
	"zeek/http/http-11-request-then-cruft.pcap":            "the cruft is answered, so that it is a request",
	"zeek/http/http-bad-request-with-version.pcap":         "the client's first bytes are not text: not HTTP",
	"zeek/http/http-inner-transfer-encoding-ossfuzz.pcap":  "fuzzed bytes: malformed request lines are shown",
	"zeek/http/variant-02-cl_uint64max.pcap":               badLength,
	"zeek/http/variant-03-cl_negative.pcap":                badLength,
	"zeek/http/variant-10-multi_value_te.pcap":             "chunked is not the last coding (RFC 9112, section 6.3, rule 4): the rest is the body, with a problem",
	"zeek/http/variant-09-te_obs_fold.pcap":                "a folded Transfer-Encoding counts (RFC 9112, section 5.2)",
	"arkime/http2-nghttp2.pcap":                            "tshark lists no fields of a section that is longer than it decodes",
	"arkime/socks5-reverse.pcap":                           "SOCKS where the side that connected is the proxy",
}

const (
	gapped    = "bytes are missing: tshark does not dissect what it can't reassemble"
	byPort    = "tshark goes by the port, or by its table of ports"
	badLength = "with an invalid Content-Length the rest is the body, with a problem"
)

func TestCorpus(t *testing.T) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skip("no captures at " + corpus)
	}
	program(t, "tshark")
	if testing.Short() {
		t.Skip("takes a minute")
	}
	var files []string
	for _, pattern := range []string{"zeek/http/*", "zeek/websocket/*", "arkime/http*", "arkime/socks*", "arkime/*v6*"} {
		list, _ := filepath.Glob(filepath.Join(corpus, pattern))
		files = append(files, list...)
	}
	messages := 0
	for _, file := range files {
		name, _ := filepath.Rel(corpus, file)
		if info, err := os.Stat(file); err != nil || info.Size() > 8<<20 {
			t.Logf("%s is too large for this test", name)
			continue
		}
		c := readCapture(t, file)
		var got []string
		s := New()
		emit := func(r *bus.Record) {
			if r.Layer != bus.HTTP {
				return
			}
			switch e := r.Event.(*bus.Event); {
			case e.Request != nil:
				got = append(got, e.Request.Method+" "+e.Request.Target)
			case e.Response != nil && e.Response.Proto != "http/0.9":
				got = append(got, fmt.Sprint(e.Response.Status))
			}
		}
		for i := range c.records {
			s.Process(&c.records[i], emit)
		}
		s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
		slices.Sort(got)
		messages += len(got)
		same := slices.Equal(got, c.messages)
		why, known := explained[name]
		switch {
		case !same && !known:
			t.Errorf("%s: %s", name, difference(got, c.messages))
		case same && known:
			t.Errorf("%s agrees with tshark now, but is explained: %s", name, why)
		}
	}
	t.Logf("%d captures, %d messages, %d explained differences", len(files), messages, len(explained))
}

// difference lists what only one of two sorted lists has.
func difference(got, want []string) string {
	var b strings.Builder
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(got) > 0 && got[0] < want[0]:
			fmt.Fprintf(&b, "\n  only here:   %.80q", got[0])
			got = got[1:]
		case len(got) == 0 || want[0] < got[0]:
			fmt.Fprintf(&b, "\n  only tshark: %.80q", want[0])
			want = want[1:]
		default:
			got, want = got[1:], want[1:]
		}
	}
	return b.String()
}
