package tlsdec

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/bus"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var update = flag.Bool("update", false, "write the golden files anew")

const corpus = "../../shared/corpus"

// captureRecords turns a capture into the records of layer TCP, as far as that is easy:
// segments in order of their sequence numbers, a gap where one is missing at the end.
func captureRecords(t testing.TB, path string) (out []bus.Record, flows []bus.Flow) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := io.ReadAll(in)
	var next func() ([]byte, gopacket.CaptureInfo, error)
	var link layers.LinkType
	if r, err := pcapgo.NewReader(bytes.NewReader(all)); err == nil {
		next, link = r.ReadPacketData, r.LinkType()
	} else if r, err := pcapgo.NewNgReader(bytes.NewReader(all), pcapgo.DefaultNgReaderOptions); err == nil {
		next, link = r.ReadPacketData, r.LinkType()
	} else {
		return nil, nil
	}
	type segment struct {
		seq     uint32
		payload []byte
	}
	type flow struct {
		conn  bus.ConnID
		layer bus.Layer
		next  [2]uint32
		known [2]bool
		off   [2]uint64
		wait  [2][]segment
	}
	open := map[bus.Flow]*flow{}
	emit := func(c *flow, d bus.Dir, typ bus.Type, payload []byte, aux uint32, at int64) {
		out = append(out, bus.Record{Layer: c.layer, Type: typ, Conn: c.conn, Dir: d, Offset: c.off[d], Time: at, Payload: payload, Aux: aux})
	}
	for {
		data, ci, err := next()
		if err != nil {
			break
		}
		at := ci.Timestamp.UnixNano()
		p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		tcp, _ := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if tcp == nil && udp == nil || p.NetworkLayer() == nil {
			continue
		}
		if tcp == nil {
			tcp = &layers.TCP{SrcPort: layers.TCPPort(udp.SrcPort), DstPort: layers.TCPPort(udp.DstPort)}
		}
		src, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw())
		dst, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Dst().Raw())
		key := bus.Flow{Transport: "tcp", Client: netip.AddrPortFrom(src, uint16(tcp.SrcPort)), Server: netip.AddrPortFrom(dst, uint16(tcp.DstPort))}
		layer := bus.TCP
		if udp != nil {
			key.Transport, layer = "udp", bus.UDP
		}
		d := bus.ClientToServer
		c := open[key]
		if c == nil {
			back := bus.Flow{Transport: key.Transport, Client: key.Server, Server: key.Client}
			if c = open[back]; c != nil {
				d = bus.ServerToClient
			}
		}
		if c == nil || tcp.SYN && !tcp.ACK && d == bus.ClientToServer && c.known[0] && c.off[0] > 0 {
			if c != nil {
				emit(c, 0, bus.End, []byte(`{"reason":"reused"}`), 0, at)
			}
			c = &flow{conn: bus.ConnID(len(flows) + 1), layer: layer}
			flows = append(flows, key)
			open[key] = c
			d = bus.ClientToServer
			payload, _ := json.Marshal(bus.ConnOpen{Flow: key, Partial: udp == nil && !tcp.SYN})
			emit(c, 0, bus.Open, payload, 0, at)
		}
		if udp != nil {
			emit(c, d, bus.Data, bytes.Clone(udp.Payload), 0, at)
			continue
		}
		seq, payload := tcp.Seq, tcp.Payload
		if tcp.SYN {
			seq++
		}
		if !c.known[d] {
			c.known[d], c.next[d] = true, seq
		}
		if len(payload) > 0 {
			c.wait[d] = append(c.wait[d], segment{seq, bytes.Clone(payload)})
		}
		for progress := true; progress; {
			progress = false
			for i, s := range c.wait[d] {
				old := int32(c.next[d] - s.seq)
				if old < 0 && len(c.wait[d]) < 64 {
					continue
				}
				if old < 0 {
					emit(c, d, bus.Gap, nil, uint32(-old), at)
					c.off[d] += uint64(-old)
					old = 0
				}
				if int(old) < len(s.payload) {
					b := s.payload[old:]
					emit(c, d, bus.Data, b, 0, at)
					c.off[d] += uint64(len(b))
					c.next[d] = s.seq + uint32(len(s.payload))
				}
				c.wait[d] = slices.Delete(c.wait[d], i, i+1)
				progress = true
				break
			}
		}
	}
	left := make([]*flow, 0, len(open))
	for _, c := range open {
		left = append(left, c)
	}
	slices.SortFunc(left, func(a, b *flow) int { return cmp.Compare(a.conn, b.conn) })
	for _, c := range left {
		emit(c, 0, bus.End, []byte(`{"reason":"capture"}`), 0, 1)
	}
	return out, flows
}

// corpusFiles lists the captures of the corpus.
func corpusFiles(t testing.TB) (files []string) {
	t.Helper()
	for _, pattern := range []string{"zeek/tls/*.pcap*", "arkime/*.pcap*", "zeek/http/*.pcap*", "zeek/tcp/*.pcap*", "zeek/quic/*.pcap*", "zeek/dns/*.pcap*"} {
		m, _ := filepath.Glob(filepath.Join(corpus, pattern))
		files = append(files, m...)
	}
	if len(files) == 0 {
		t.Skip("../../shared/corpus is not here")
	}
	slices.Sort(files)
	return files
}

// TestCorpus decodes captures that nobody here made and compares the visible facts with a
// golden file. tshark's opinion on them is in TestCorpusAgainstTshark.
func TestCorpus(t *testing.T) {
	files := corpusFiles(t)
	var got strings.Builder
	for _, path := range files {
		rs, flows := captureRecords(t, path)
		f := newFeeder()
		f.tcp(rs...)
		f.eos(bus.TCP, bus.UDP, bus.Keys)
		f.out.problem = ""
		f.check(t)
		infos, verdicts := map[bus.ConnID]bus.TLSInfo{}, map[bus.ConnID][]string{}
		ended := 0
		for _, r := range f.out.records {
			switch r.Type {
			case bus.Info:
				var i bus.TLSInfo
				if err := json.Unmarshal(r.Payload, &i); err != nil {
					t.Fatal(err)
				}
				infos[r.Conn] = i
			case bus.Opaque:
				var v bus.Verdict
				if err := json.Unmarshal(r.Payload, &v); err != nil {
					t.Fatal(err)
				}
				if !v.Preliminary {
					verdicts[r.Conn] = append(verdicts[r.Conn], string(v.Code))
				}
			case bus.End:
				ended++
			}
		}
		if ended != len(flows) {
			t.Errorf("%s: %d of %d connections ended", path, ended, len(flows))
		}
		name, _ := filepath.Rel(corpus, path)
		for n, flow := range flows {
			id := bus.ConnID(n + 1)
			i, ok := infos[id]
			if !ok && verdicts[id] == nil {
				continue
			}
			alert := ""
			if i.Alert != nil {
				alert = " " + i.Alert.Description
			}
			fmt.Fprintf(&got, "%s %s>%s sni=%s %s %s group=%s alpn=%s certs=%d resumed=%v ja3=%s ja4=%s %v%s\n", name, flow.Client, flow.Server,
				i.SNI, i.Version, i.Cipher, i.Group, i.ALPN, len(i.Certificates), i.Resumed, i.JA3, i.JA4, verdicts[id], alert)
		}
	}
	golden(t, "testdata/corpus.golden", got.String())
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s", path, firstDifference(strings.Split(got, "\n"), strings.Split(string(want), "\n")))
	}
}
