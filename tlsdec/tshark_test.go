package tlsdec

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func needTshark(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
}

// writeCapture writes traces as a capture, connection i from port 20000+i to the port of
// its server, and their secrets as a key log.
func writeCapture(t testing.TB, traces []*trace) (capture, keyLog string) {
	t.Helper()
	dir := t.TempDir()
	capture, keyLog = filepath.Join(dir, "x.pcap"), filepath.Join(dir, "keys")
	var out, keys bytes.Buffer
	w := pcapgo.NewWriter(&out)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	clock := time.Unix(1e9, 0)
	for i, tr := range traces {
		next := [2]uint32{1000, 2000}
		port := layers.TCPPort(443)
		if tr.server != 0 {
			port = layers.TCPPort(tr.server)
		}
		segment := func(d bus.Dir, flags layers.TCP, payload []byte) {
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(10, 0, 0, 2)}
			flags.SrcPort, flags.DstPort = layers.TCPPort(20000+i), port
			if d == bus.ServerToClient {
				ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
				flags.SrcPort, flags.DstPort = flags.DstPort, flags.SrcPort
			}
			flags.Seq, flags.Ack, flags.Window = next[d], next[1-d], 65535
			next[d] += uint32(len(payload))
			if flags.SYN || flags.FIN {
				next[d]++
			}
			flags.SetNetworkLayerForChecksum(ip)
			b := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, &flags, gopacket.Payload(payload)); err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(time.Millisecond)
			if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: clock, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		segment(0, layers.TCP{SYN: true}, nil)
		segment(1, layers.TCP{SYN: true, ACK: true}, nil)
		segment(0, layers.TCP{ACK: true}, nil)
		for _, r := range tr.records {
			switch r.Type {
			case bus.Data:
				for b := r.Payload; len(b) > 0; {
					n := min(len(b), 1400)
					segment(r.Dir, layers.TCP{ACK: true, PSH: true}, b[:n])
					b = b[n:]
				}
			case bus.Gap:
				next[r.Dir] += r.Aux
			case bus.Fin:
				segment(r.Dir, layers.TCP{ACK: true, FIN: true}, nil)
			}
		}
		for _, s := range tr.secrets {
			fmt.Fprintf(&keys, "%s %x %x\n", s.Label, s.ClientRandom, s.Secret)
		}
	}
	for path, b := range map[string][]byte{capture: out.Bytes(), keyLog: keys.Bytes()} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return capture, keyLog
}

// tsharkPlain lets tshark decrypt the first n connections of a capture.
func tsharkPlain(t testing.TB, capture, keyLog string, n int) [][2][]byte {
	t.Helper()
	args := []string{"-r", capture, "-q", "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tls.keylog_file:" + keyLog}
	for i := range n {
		args = append(args, "-z", fmt.Sprintf("follow,tls,raw,%d", i))
	}
	out, err := exec.CommandContext(t.Context(), "tshark", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	// "Filter: tcp.stream eq 0", two lines of nodes, then a line of hexadecimal
	// a piece, that of the second node after a tab; the first is who spoke first.
	plain := make([][2][]byte, n)
	at, swapped := -1, false
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "Filter: "):
			at, swapped = -1, false
			fmt.Sscanf(line, "Filter: tcp.stream eq %d", &at)
		case strings.HasPrefix(line, "Node 0: "):
			swapped = !strings.HasPrefix(line, fmt.Sprintf("Node 0: 10.0.0.1:%d", 20000+at))
		case at >= 0 && line != "" && !strings.Contains(line, ":") && !strings.HasPrefix(line, "="):
			d := 0
			if strings.HasPrefix(line, "\t") != swapped {
				d = 1
			}
			b, err := hex.DecodeString(strings.TrimPrefix(line, "\t"))
			if err != nil {
				t.Fatalf("tshark says %q", line)
			}
			plain[at][d] = append(plain[at][d], b...)
		}
	}
	return plain
}
