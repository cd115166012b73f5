package integration

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// transferEnv is the size of each direction of TestTransfer in MiB; 2048 is what
// is claimed, less what is tried each time.
const transferEnv = "CLIPPER_TEST_TRANSFER_MIB"

// pattern is an endless stream that looks random, the same every time, from an
// offset on: AES-128 in counter mode with a key of zeros, as openssl enc has it.
func pattern(offset uint64) io.Reader {
	block, _ := aes.NewCipher(make([]byte, 16))
	var iv [16]byte
	binary.BigEndian.PutUint64(iv[8:], offset/aes.BlockSize)
	s := cipher.StreamReader{S: cipher.NewCTR(block, iv[:]), R: zeros{}}
	io.CopyN(io.Discard, s, int64(offset%aes.BlockSize))
	return s
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// packetFile calls f for each packet with an IP header at its beginning in a
// pcapng file that Clipper wrote.
func packetFile(t *testing.T, path string, f func(ip []byte)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	var raw []bool // by interface
	var head [8]byte
	var block []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n := int(binary.LittleEndian.Uint32(head[4:])) - len(head)
		block = slices.Grow(block[:0], n)[:n]
		if _, err := io.ReadFull(r, block); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		const interfaceDescription, enhancedPacket, linkRaw = 1, 6, 101
		switch binary.LittleEndian.Uint32(head[:]) {
		case interfaceDescription:
			raw = append(raw, binary.LittleEndian.Uint16(block) == linkRaw)
		case enhancedPacket:
			if raw[binary.LittleEndian.Uint32(block)] {
				f(block[20 : 20+binary.LittleEndian.Uint32(block[12:])])
			}
		}
	}
}

// half is one direction of a TCP connection in a capture, compared with pattern.
type half struct {
	isn   uint32
	begun bool
	next  uint64   // offset up to which all was seen
	later [][2]int // seen beyond next
}

// segment takes a TCP segment of the direction.
func (h *half) segment(tcp []byte) error {
	const syn = 2
	seq := binary.BigEndian.Uint32(tcp[4:])
	if tcp[13]&syn != 0 {
		h.isn, h.begun = seq+1, true
		return nil
	}
	data := tcp[tcp[12]>>4*4:]
	if !h.begun || len(data) == 0 {
		return nil
	}
	// The offset nearest to next with these low bits.
	offset := int64(h.next) + int64(int32(seq-h.isn-uint32(h.next)))
	if offset < 0 {
		return fmt.Errorf("data before the beginning")
	}
	want := make([]byte, len(data))
	io.ReadFull(pattern(uint64(offset)), want)
	if !bytes.Equal(data, want) {
		return fmt.Errorf("other bytes at offset %d", offset)
	}
	h.later = append(h.later, [2]int{int(offset), int(offset) + len(data)})
	if len(h.later) > 1 {
		slices.SortFunc(h.later, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	}
	for len(h.later) > 0 && uint64(h.later[0][0]) <= h.next {
		h.next = max(h.next, uint64(h.later[0][1]))
		h.later = h.later[1:]
	}
	return nil
}

// TestTransfer moves much both ways at once while the capture's reader is killed
// 20 times. Both ends get what was sent, and the capture has every byte of it.
func TestTransfer(t *testing.T) {
	const kills = 20
	mib := 48
	if s := os.Getenv(transferEnv); s != "" {
		mib, _ = strconv.Atoi(s)
	}
	size := int64(mib) << 20
	hash := sha256.New()
	io.CopyN(hash, pattern(0), size)
	want := fmt.Sprintf("%x", hash.Sum(nil))

	// What may move grows with each kill, so that there is traffic at all of them.
	step := 2 * size / (kills + 2)
	m := &meter{limit: 2 * step}
	m.cond.L = &m.mu
	serve := func(f func(c *net.TCPConn)) int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			if c, err := l.Accept(); err == nil {
				f(c.(*net.TCPConn))
				c.Close()
			}
		}()
		return l.Addr().(*net.TCPAddr).Port
	}
	got := make(chan string, 1)
	down := serve(func(c *net.TCPConn) { io.CopyN(meterWriter{c, m}, pattern(0), size) })
	up := serve(func(c *net.TCPConn) {
		h := sha256.New()
		n, err := io.Copy(meterWriter{h, m}, c)
		got <- fmt.Sprintf("%x %d %v", h.Sum(nil), n, err)
	})
	w := plainUser(t)
	cmd := w.command(t, clipper(t), "up", "--no-devtools", "-w", "out.pcapng", "--", "sh", "-c", fmt.Sprintf(
		`zeros=00000000000000000000000000000000
		openssl enc -aes-128-ctr -K $zeros -iv $zeros -in /dev/zero 2>/dev/null | head -c %d | nc -N 127.0.0.1 %d & nc 127.0.0.1 %d </dev/null | sha256sum; wait`, size, up, down))
	var out, errs syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	session := &session{cmd: cmd}
	for i := range kills {
		if !m.reach(step * int64(i+1)) {
			t.Fatalf("nothing moves any more\n%s", errs.String())
		}
		before := rolePID(t, cmd, "capture")
		if _, stderr, code := session.clipper(t, "restart", "capture"); code != 0 { // kills it
			t.Fatalf("restart: exit %d %s", code, stderr)
		}
		eventually(t, "another reader", func() bool { return rolePID(t, cmd, "capture") != before })
		m.allow(step * int64(i+3))
	}
	m.allow(2 * size)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("the program got %s, sent was %s", out.String(), want)
	}
	if s := <-got; s != fmt.Sprintf("%s %d %v", want, size, nil) {
		t.Errorf("the server got %s, sent was %s", s, want)
	}
	if strings.Contains(errs.String(), "lost") {
		t.Errorf("frames were lost:\n%s", errs.String())
	}
	var sent, received half
	packetFile(t, filepath.Join(cmd.Dir, "out.pcapng"), func(ip []byte) {
		const tcp = 6
		if ip[0]>>4 != 4 || ip[9] != tcp {
			return
		}
		b := ip[ip[0]&15*4 : binary.BigEndian.Uint16(ip[2:])]
		var err error
		switch {
		case int(binary.BigEndian.Uint16(b)) == down:
			err = received.segment(b)
		case int(binary.BigEndian.Uint16(b[2:])) == up:
			err = sent.segment(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if sent.next != uint64(size) || received.next != uint64(size) {
		t.Errorf("the capture has %d bytes sent and %d received, want %d; beyond: %v %v", sent.next, received.next, size, sent.later, received.later)
	}
	nothingLeft(t, result{dir: cmd.Dir})
}

// meter counts what moves, and stops it at a limit.
type meter struct {
	mu           sync.Mutex
	cond         sync.Cond
	moved, limit int64
}

func (m *meter) take(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.moved >= m.limit {
		m.cond.Wait()
	}
	m.moved += int64(n)
	m.cond.Broadcast()
}

func (m *meter) allow(limit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = limit
	m.cond.Broadcast()
}

// reach waits until this much has moved; two minutes is never.
func (m *meter) reach(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	hang := false
	timer := time.AfterFunc(2*time.Minute, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		hang = true
		m.cond.Broadcast()
	})
	defer timer.Stop()
	for m.moved < n && !hang {
		m.cond.Wait()
	}
	return !hang
}

type meterWriter struct {
	io.Writer
	m *meter
}

func (w meterWriter) Write(b []byte) (int, error) {
	w.m.take(len(b))
	return w.Writer.Write(b)
}

// TestManyConnections keeps 5,000 connections at once, and uses each.
func TestManyConnections(t *testing.T) {
	const connections = 5000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < 2*connections {
		t.Skipf("the limit of open files is %d", limit.Max)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	const script = `import socket, sys
conns = []
for i in range(int(sys.argv[2])):
    s = socket.socket(); s.connect(("127.0.0.1", int(sys.argv[1]))); conns.append(s)
for i, s in enumerate(conns): s.sendall(b"%d" % i)
for i, s in enumerate(conns):
    s.shutdown(socket.SHUT_WR)
    got = s.makefile("rb").read()
    if got != b"%d" % i: sys.exit("connection %d got %r" % (i, got))
print("all")`
	w := plainUser(t)
	r := run(t, w, "up", "-q", "--no-devtools", "-w", "out.pcapng", "--", "sh", "-c", fmt.Sprintf("ulimit -n %d; exec /usr/bin/python3 -c '%s' %d %d", 2*connections, script, l.Addr().(*net.TCPAddr).Port, connections))
	r.wants(t, 0)
	if r.stdout != "all\n" || r.stderr != "" {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	opened := map[uint16]bool{}
	packetFile(t, filepath.Join(r.dir, "out.pcapng"), func(ip []byte) {
		if b := ip[ip[0]&15*4:]; ip[9] == 6 && b[13]&0x12 == 0x12 { // SYN and ACK
			opened[binary.BigEndian.Uint16(b[2:])] = true
		}
	})
	if len(opened) != connections {
		t.Errorf("%d connections in the capture, want %d", len(opened), connections)
	}
}

// TestLosses: what a stopped reader misses and nobody can hold back, because the
// kernel delivers it itself, is counted, published and told.
func TestLosses(t *testing.T) {
	s := startSession(t, plainUser(t), "--no-devtools", "-w", "out.pcapng")
	// A datagram to the sandbox's own address passes lo only.
	const flood = `/usr/bin/python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"10.0.2.100\", 7777)); [s.sendto(bytes(60000), (\"10.0.2.100\", 7777)) for i in range(400)]"`
	s.do(t, flood)
	tap := s.tap(t, "frames")
	reader := rolePID(t, s.cmd, "capture")
	syscall.Kill(reader, syscall.SIGSTOP)
	s.do(t, flood)
	syscall.Kill(reader, syscall.SIGCONT)
	s.do(t, flood)
	lost := regexp.MustCompile(`, ([1-9][0-9]*) frames lost`)
	eventually(t, "ps tells what was lost", func() bool {
		out, _, _ := s.clipper(t, "ps")
		return lost.MatchString(out)
	})
	s.end(t)
	if !regexp.MustCompile(`[1-9][0-9]* frames were lost`).MatchString(s.stderr.String()) {
		t.Errorf("the summary is silent about it:\n%s", s.stderr.String())
	}
	if out := tap(); !strings.Contains(out, " packets were not captured") {
		t.Errorf("the layer frames has no gap: %.2000s", out)
	}
}
