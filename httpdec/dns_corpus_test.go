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

	"golang.org/x/net/dns/dnsmessage"

	"clipper/bus"
)

// explainedDNS are the captures in which tshark sees other answers than we, and why.
var explainedDNS = map[string]string{
	"arkime/dns-udp.pcap": "tshark lists the addresses of the additional section, too",
}

// TestCorpusDNS compares the answers over UDP with those that tshark finds.
func TestCorpusDNS(t *testing.T) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skip("no captures at " + corpus)
	}
	program(t, "tshark")
	if testing.Short() {
		t.Skip("takes a while")
	}
	var files []string
	for _, pattern := range []string{"zeek/dns/*", "arkime/dns*"} {
		list, _ := filepath.Glob(filepath.Join(corpus, pattern))
		files = append(files, list...)
	}
	total := 0
	for _, file := range files {
		name, _ := filepath.Rel(corpus, file)
		records, want := readDatagrams(t, file)
		var got []string
		s := New()
		emit := func(r *bus.Record) {
			if e, ok := r.Event.(*bus.Event); ok && e.DNS != nil && e.DNS.Answered != 0 {
				got = append(got, showAnswer(e.DNS.Type, e.DNS.Name, e.DNS.Status, e.DNS.Addresses))
			}
		}
		for i := range records {
			s.Process(&records[i], emit)
		}
		s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
		slices.Sort(got)
		slices.Sort(want)
		total += len(got)
		same := slices.Equal(got, want)
		why, known := explainedDNS[name]
		switch {
		case !same && !known:
			t.Errorf("%s: %s", name, difference(got, want))
		case same && known:
			t.Errorf("%s agrees with tshark now, but is explained: %s", name, why)
		}
	}
	t.Logf("%d captures, %d answers, %d explained differences", len(files), total, len(explainedDNS))
}

// showAnswer leaves out the addresses of other questions: tshark lists those of all
// sections.
func showAnswer(kind, name, status string, addrs []netip.Addr) string {
	if kind != "A" && kind != "AAAA" {
		addrs = nil
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return fmt.Sprint(kind, " ", name, " ", status, " ", addrs)
}

// readDatagrams lets tshark dissect the datagrams of a file: the records that
// would reach this stage, and the answers.
func readDatagrams(t *testing.T, file string) (records []bus.Record, answers []string) {
	fields := []string{"udp.stream", "frame.time_epoch", "ip.src", "ipv6.src", "udp.srcport", "ip.dst", "ipv6.dst", "udp.dstport", "udp.payload",
		"dns.flags.response", "dns.qry.name", "dns.flags.rcode", "dns.a", "dns.aaaa", "dns.id", "dns.qry.type"}
	args := []string{"-n", "-r", file, "-Y", "udp && !icmp && !icmpv6", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Skipf("tshark: %v", err)
	}
	type flow struct {
		id     bus.ConnID
		client netip.AddrPort
		asked  map[string]bool
	}
	flows := map[string]*flow{}
	add := func(r bus.Record) {
		r.Layer, r.Pos = bus.Plain, uint64(len(records)+1)
		records = append(records, r)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(f) < len(fields) || strings.Contains(f[0], ",") {
			continue
		}
		addr := func(ip, ip6, port string) netip.AddrPort {
			if ip == "" {
				ip = ip6
			}
			a, _ := netip.ParseAddr(ip)
			p, _ := strconv.Atoi(port)
			return netip.AddrPortFrom(a, uint16(p))
		}
		src, dst := addr(f[2], f[3], f[4]), addr(f[5], f[6], f[7])
		secs, _ := strconv.ParseFloat(f[1], 64)
		data, _ := hex.DecodeString(f[8])
		k := flows[f[0]]
		if k == nil {
			k = &flow{id: bus.ConnID(len(flows) + 1), client: src, asked: map[string]bool{}}
			flows[f[0]] = k
			o := bus.ConnOpen{Flow: bus.Flow{Transport: "udp", Client: src, Server: dst}, Partial: f[9] == "1" || f[9] == "True"}
			add(bus.Record{Type: bus.Open, Conn: k.id, Time: int64(secs * 1e9), Payload: mustJSON(o)})
		}
		dir := bus.ClientToServer
		if src != k.client {
			dir = bus.ServerToClient
		}
		add(bus.Record{Type: bus.Data, Dir: dir, Conn: k.id, Time: int64(secs * 1e9), Payload: data})
		key := f[14] + f[10] + f[15]
		switch f[9] {
		case "0", "False":
			k.asked[key] = true
		case "1", "True":
			if !k.asked[key] && len(k.asked) > 0 || f[10] == "" || dst.Addr().IsMulticast() || strings.Contains(f[10], ",") {
				continue // once more, or an announcement
			}
			delete(k.asked, key)
			var addrs []netip.Addr
			for a := range strings.SplitSeq(f[12]+","+f[13], ",") {
				if ip, err := netip.ParseAddr(a); err == nil {
					addrs = append(addrs, ip)
				}
			}
			code, _ := strconv.Atoi(f[11])
			kind, _ := strconv.Atoi(f[15])
			answers = append(answers, showAnswer(typeName(dnsmessage.Type(kind)), strings.ReplaceAll(f[10], "<Root>", "."), rcodeName(dnsmessage.RCode(code)), addrs))
		}
	}
	return records, answers
}
