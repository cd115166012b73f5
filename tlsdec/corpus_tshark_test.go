package tlsdec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clipper/bus"
)

// facts are what is compared, by name.
type facts map[string]string

var factNames = []string{"sni", "ja3", "client-alpn", "version", "cipher", "alpn", "group", "certificates", "client-certificates", "alert"}

func chain(certs [][]byte) string {
	if len(certs) == 0 {
		return ""
	}
	h := sha256.New()
	for _, c := range certs {
		h.Write(c)
	}
	return fmt.Sprintf("%d:%x", len(certs), h.Sum(nil)[:6])
}

func ownFacts(i *bus.TLSInfo) facts {
	f := facts{"sni": i.SNI, "ja3": i.JA3, "client-alpn": strings.Join(i.ClientALPN, ","), "version": i.Version, "cipher": i.Cipher, "alpn": i.ALPN,
		"certificates": chain(i.Certificates), "client-certificates": chain(i.ClientCertificates)}
	if !strings.HasPrefix(i.Group, "DH ") { // tshark shows the prime
		f["group"] = i.Group
	}
	if i.Alert != nil {
		f["alert"] = i.Alert.Description
	}
	return f
}

// tsharkFacts are those of each connection of a capture that writeCapture wrote.
func tsharkFacts(t *testing.T, capture string, n int) []facts {
	t.Helper()
	fields := []string{"ip.src", "tcp.srcport", "tcp.dstport", "tls.handshake.type", "tls.handshake.extensions_server_name", "tls.handshake.ja3", "tls.handshake.extensions_alpn_str",
		"tls.handshake.version", "tls.handshake.extensions.supported_version", "tls.handshake.ciphersuite", "tls.handshake.extensions_key_share_group",
		"tls.handshake.extensions_key_share_selected_group", "tls.handshake.server_named_curve", "tls.handshake.certificate", "tls.alert_message.level", "tls.alert_message.desc", "tls.handshake.random"}
	args := []string{"-r", capture, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "tls", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=,"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.CommandContext(t.Context(), "tshark", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]facts, n)
	for line := range strings.Lines(string(out)) {
		v := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		get := func(name string) []string {
			if s := v[slices.Index(fields, name)]; s != "" {
				return strings.Split(s, ",")
			}
			return nil
		}
		first := func(name string) string { return append(get(name), "")[0] }
		value := func(s string) uint16 {
			x, _ := strconv.ParseUint(s, 0, 16)
			return uint16(x)
		}
		client := first("ip.src") == "10.0.0.1"
		port := first("tcp.dstport")
		if client {
			port = first("tcp.srcport")
		}
		i := int(value(port)) - 20000
		f := all[i]
		if f == nil {
			f = facts{}
			all[i] = f
		}
		types := get("tls.handshake.type")
		retry := first("tls.handshake.random") == hex.EncodeToString(helloRetryRandom[:])
		switch {
		case slices.Contains(types, "1") && client && f["ja3"] == "":
			f["sni"], f["ja3"], f["client-alpn"] = first("tls.handshake.extensions_server_name"), first("tls.handshake.ja3"), strings.Join(get("tls.handshake.extensions_alpn_str"), ",")
		case slices.Contains(types, "2") && !client && !retry && f["version"] == "":
			version := value(first("tls.handshake.version"))
			if s := get("tls.handshake.extensions.supported_version"); len(s) == 1 {
				version = value(s[0])
			}
			f["version"], f["cipher"], f["alpn"] = versionName(version), suiteName(value(first("tls.handshake.ciphersuite"))), first("tls.handshake.extensions_alpn_str")
			if g := first("tls.handshake.extensions_key_share_group"); g != "" {
				f["group"] = groupName(value(g))
			}
		}
		if g := first("tls.handshake.server_named_curve"); g != "" {
			f["group"] = groupName(value(g))
		}
		if list := get("tls.handshake.certificate"); len(list) > 0 {
			var certs [][]byte
			for _, c := range list {
				certs = append(certs, unhex(t, c))
			}
			name := "certificates"
			if client {
				name = "client-certificates"
			}
			if f[name] == "" {
				f[name] = chain(certs)
			}
		}
		for k, level := range get("tls.alert_message.level") {
			desc := value(get("tls.alert_message.desc")[k])
			if level == "2" && desc != alertCloseNotify && f["alert"] == "" {
				f["alert"] = alertName(uint8(desc))
			}
		}
	}
	return all
}

// TestCorpusAgainstTshark compares the facts that are visible without keys with what tshark
// makes of the same byte streams. testdata/tshark-differences lists each difference with its
// reason: capture, connection, fact, then the reason.
func TestCorpusAgainstTshark(t *testing.T) {
	needTshark(t)
	var traces []*trace
	var names []string
	var own []facts
	for _, path := range corpusFiles(t) {
		rs, flows := captureRecords(t, path)
		f := newFeeder()
		f.tcp(rs...)
		f.eos(bus.Keys, bus.TCP, bus.UDP)
		infos := map[bus.ConnID]*bus.TLSInfo{}
		for _, r := range f.out.records {
			if r.Type == bus.Info {
				infos[r.Conn] = new(bus.TLSInfo)
				if err := json.Unmarshal(r.Payload, infos[r.Conn]); err != nil {
					t.Fatal(err)
				}
			}
		}
		file, _ := filepath.Rel(corpus, path)
		each := map[bus.ConnID]*trace{}
		for n, flow := range flows {
			if flow.Transport != "tcp" {
				continue
			}
			tr := &trace{server: flow.Server.Port()}
			each[bus.ConnID(n+1)] = tr
			traces, names = append(traces, tr), append(names, fmt.Sprintf("%s %s>%s", file, flow.Client, flow.Server))
			if i := infos[bus.ConnID(n+1)]; i != nil {
				own = append(own, ownFacts(i))
			} else {
				own = append(own, facts{})
			}
		}
		for _, r := range rs {
			if tr := each[r.Conn]; tr != nil {
				tr.records = append(tr.records, r)
			}
		}
	}
	capture, _ := writeCapture(t, traces)
	theirs := tsharkFacts(t, capture, len(traces))
	b, err := os.ReadFile("testdata/tshark-differences")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && line[0] != '#' {
			reasons[strings.Join(f[:3], " ")] = true
		}
	}
	compared := 0
	for i, name := range names {
		if len(own[i]) > 0 {
			compared++
		}
		for _, fact := range factNames {
			if own[i][fact] == theirs[i][fact] {
				continue
			}
			key := name + " " + fact
			if !reasons[key] {
				t.Errorf("%s: %q, tshark %q", key, own[i][fact], theirs[i][fact])
			}
			delete(reasons, key)
		}
	}
	for key := range reasons {
		t.Errorf("testdata/tshark-differences lists %s, where there is none", key)
	}
	t.Logf("%d of %d connections are TLS", compared, len(names))
}
