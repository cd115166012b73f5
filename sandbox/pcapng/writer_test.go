package pcapng

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/bus"
)

// Every file of the corpus, read and written again, has the same packets, and
// Wireshark agrees.
func TestRoundTripCorpus(t *testing.T) {
	tool(t, "capinfos")
	dir := t.TempDir()
	var written []string
	var want []facts
	for i, path := range captures(t) {
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			r, err := f.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
		}
		in.Close()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, fmt.Sprintf("%03d.pcapng", i))
		if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		written = append(written, name)
		before, _ := sumUp(path)
		want = append(want, before)
		if after, err := sumUp(name); after != before || err != nil {
			t.Errorf("%s: %+v became %+v, %v", path, before, after, err)
		}
	}
	for i, got := range capinfos(t, written) {
		if got != want[i] {
			t.Errorf("%s: capinfos says %+v, want %+v", written[i], got, want[i])
		}
	}
}

// conversation is what a TLS client and server sent, as raw IP frames, with
// the secrets at the moment when the library told them.
type conversation struct {
	mu      sync.Mutex
	records []*bus.Record
	seq     [2]uint32
	now     int64
}

const (
	fin = 1 << iota
	syn
	_
	psh
	ack
)

var (
	client = netip.MustParseAddrPort("10.0.2.100:40000")
	server = netip.MustParseAddrPort("93.184.216.34:443")
)

func (c *conversation) segment(dir int, flags byte, data []byte) {
	b := make([]byte, 40, 40+len(data))
	src, dst := client, server
	if dir == 1 {
		src, dst = dst, src
	}
	b[0], b[8], b[9] = 0x45, 64, protoTCP
	binary.BigEndian.PutUint16(b[2:], uint16(40+len(data)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint32(b[24:], c.seq[dir])
	binary.BigEndian.PutUint32(b[28:], c.seq[1-dir])
	b[32], b[33], b[34] = 5<<4, flags, 0xff
	b[36], b[37] = 0xde, 0xad // not the checksum
	c.seq[dir] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		c.seq[dir]++
	}
	c.now += 1e6
	r := &bus.Record{Layer: bus.Frames, Type: linkRaw, Flags: bus.CsumNotReady, Offset: uint64(len(c.records)), Time: c.now, Stream: 2,
		Payload: append(b, data...)}
	r.Aux = uint32(len(r.Payload))
	if dir == 0 {
		r.Flags |= bus.Outgoing
	}
	c.records = append(c.records, r)
}

// Write takes lines of the key log.
func (c *conversation) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := parseKeyLogLine(line)
	if !ok {
		return 0, fmt.Errorf("key log line %q", line)
	}
	c.records = append(c.records, bus.SecretRecord(s, c.now))
	return len(line), nil
}

type tapped struct {
	net.Conn
	c   *conversation
	dir int
}

func (t tapped) Write(b []byte) (int, error) {
	t.c.mu.Lock()
	t.c.segment(t.dir, psh|ack, b)
	t.c.mu.Unlock()
	return t.Conn.Write(b)
}

// talk is an HTTP exchange over TLS of the given version.
func talk(t *testing.T, version uint16) []*bus.Record {
	t.Helper()
	c := &conversation{now: 1_700_000_000e9, seq: [2]uint32{100, 200}}
	c.segment(0, syn, nil)
	c.segment(1, syn|ack, nil)
	c.segment(0, ack, nil)
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(tapped{b, c, 1}, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
		buf := make([]byte, 4096)
		_, err := s.Read(buf)
		if err == nil {
			_, err = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		}
		done <- err
	}()
	s := tls.Client(tapped{a, c, 0}, &tls.Config{InsecureSkipVerify: true, ServerName: "example.com", KeyLogWriter: c, MinVersion: version, MaxVersion: version})
	if _, err := io.WriteString(s, "GET /secret HTTP/1.1\r\nHost: example.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for got := ""; !strings.HasSuffix(got, "hello"); {
		n, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buf[:n])
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.segment(0, fin|ack, nil)
	c.segment(1, fin|ack, nil)
	return c.records
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write makes a file of the records.
func write(t *testing.T, o Options, records []*bus.Record) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "out.pcapng")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w, err := NewWriter(out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Names(server.Addr(), "example.com", "www.example.com"); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		before := bytes.Clone(r.Payload)
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, r.Payload) {
			t.Fatal("the Writer changed the record")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// tshark returns the fields of each packet, read once from the beginning.
func tshark(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := exec.Command("tshark", append([]string{"-r", name, "-T", "fields"}, args...)...)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		t.Fatalf("tshark: %v %s", err, complaint.String())
	}
	return string(out)
}

// The file alone is decrypted by Wireshark, without any option.
func TestDecryptedByWireshark(t *testing.T) {
	tool(t, "tshark")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			name := write(t, Options{Directed: true}, talk(t, version))
			got := tshark(t, name, "-Y", "http", "-e", "http.request.uri", "-e", "http.response.code", "-e", "http.file_data")
			if want := "/secret\t\t\n\t200\thello\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			// 1: good
			sums := tshark(t, name, "-o", "tcp.check_checksum:TRUE", "-e", "tcp.checksum.status")
			if strings.Trim(sums, "1\n") != "" || sums == "" {
				t.Errorf("status of the checksums: %q", sums)
			}
		})
	}
}

// What Wireshark shows of a file besides the bytes.
func TestFactsForWireshark(t *testing.T) {
	tool(t, "tshark")
	records := talk(t, tls.VersionTLS13)
	lo := &bus.Record{Layer: bus.Frames, Type: linkEthernet, Time: 1_700_000_001_123456789, Stream: 1, Aux: 60, Payload: make([]byte, 60)}
	records = append([]*bus.Record{
		{Layer: bus.Proc, Type: bus.Line, Event: &bus.ProcEvent{Type: bus.ProcExec, PID: 4711, Exe: "/usr/bin/curl"}},
		{Layer: bus.Proc, Type: bus.Line, Event: &bus.ProcEvent{Type: bus.ProcSocket, PID: 4711, Transport: "tcp", Local: client, Remote: server}},
		lo,
		{Layer: bus.Frames, Type: bus.Dropped, Aux: 7},
	}, records...)
	name := write(t, Options{Directed: true, InterfaceName: func(i uint64, l uint16) string {
		if i == 2 {
			return "tun0"
		}
		return defaultName(i, l)
	}}, records)
	got := tshark(t, name, "-c", "3", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.drop_count",
		"-e", "frame.comment", "-e", "frame.time_epoch", "-e", "ip.dst_host", "-N", "n")
	want := "lo\t\t\t\t1700000001.123456789\t\n" +
		"tun0\t0x00000002\t7\tprocess 4711 curl\t1700000000.001000000\twww.example.com\n" +
		"tun0\t0x00000001\t\t\t1700000000.002000000\t10.0.2.100\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
