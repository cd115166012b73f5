//go:build linux

package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// The test binary is also the reader that the tests kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CAPTURE_TEST_READER"); dir != "" {
		if err := readToFiles(dir, 2); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("CAPTURE_TEST_ROLE") != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// readToFiles is a reader process: descriptor 3 is the socket, 4 the page.
func readToFiles(dir string, partitions int) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	fmt.Println("ready")
	ring, err := Map(3, 4)
	if err != nil {
		return err
	}
	var out []Output
	for i := range partitions {
		o, err := openLogFile(logName(dir, i))
		if err != nil {
			return err
		}
		out = append(out, o)
	}
	return NewReader(ring, out).Run(ctx)
}

func startReader(t *testing.T, dir string, packet, page *os.File) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "CAPTURE_TEST_READER="+dir)
	c.ExtraFiles = []*os.File{packet, page}
	c.Stderr = os.Stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal("the reader did not start: ", err)
	}
	return c
}

// read runs a reader in this process until the ring is drained.
func read(t *testing.T, packet, page *os.File, out []Output) *Ring {
	t.Helper()
	ring, err := Map(int(packet.Fd()), int(page.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewReader(ring, out).Run(ctx); err != nil {
		t.Fatal(err)
	}
	return ring
}

func send(t *testing.T, fd int, n uint64, size int) {
	t.Helper()
	if err := sendTo(fd, n, size); err != nil {
		t.Fatal(err)
	}
}

func sendTo(fd int, n uint64, size int) error {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, n)
	// A refusal of an earlier datagram is reported once.
	if _, err := unix.Write(fd, b); err != nil && err != unix.ECONNREFUSED {
		return err
	}
	return nil
}

func TestLoopbackOnceAndDrained(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	const count = 1000
	start := time.Now().UnixNano()
	for i := range uint64(count) {
		send(t, fd, i, 64)
	}
	end := time.Now().UnixNano()
	all, out := memories(1)
	read(t, packet, page, out)
	records := all[0].records
	if len(records) != count+1 {
		t.Fatalf("%d records, want %d frames and EOS", len(records), count)
	}
	for i, r := range records[:count] {
		if c, ok := counterOf(&r); !ok || c != uint64(i) || r.Offset != uint64(i) {
			t.Fatalf("record %d: datagram %d at frame index %d", i, c, r.Offset)
		}
		if r.Layer != bus.Frames || r.Type != linkEthernet || r.Stream != 1 || int(r.Aux) != len(r.Payload) || len(r.Payload) != 14+20+8+64 {
			t.Fatalf("record %d: %+v", i, r)
		}
		if r.Time < start || r.Time > end {
			t.Fatalf("record %d: time %d outside of %d to %d", i, r.Time, start, end)
		}
		if r.Flags != bus.CsumNotReady {
			t.Fatalf("record %d: flags %b, want CsumNotReady alone", i, r.Flags)
		}
	}
	if eos := records[count]; eos.Type != bus.EOS || eos.Offset != count {
		t.Fatalf("last record %+v, want EOS", eos)
	}
	if all[0].pending != 0 {
		t.Fatal("Run returned before it flushed")
	}
}

// bind keeps a UDP socket that nobody reads.
func (n *namespace) bind(port int) {
	n.t.Helper()
	fd := n.socket(unix.AF_INET, unix.SOCK_DGRAM)
	n.t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: localhost, Port: port}); err != nil {
		n.t.Fatal(err)
	}
}

func TestTunLinkTypeAndDirection(t *testing.T) {
	n := newNamespace(t)
	tun := n.tun()
	packet, page := n.capture()
	send(t, n.udp([4]byte{10, 9, 0, 1}, 9), 7, 32)
	sent := make([]byte, 2048)
	for { // the kernel may send other packets on its own
		k, err := tun.Read(sent)
		if err != nil {
			t.Fatal(err)
		}
		if sent[0]>>4 == 4 && sent[9] == protoUDP {
			sent = sent[:k]
			break
		}
	}
	reply := append([]byte(nil), sent...)
	copy(reply[12:16], sent[16:20])
	copy(reply[16:20], sent[12:16])
	if _, err := tun.Write(reply); err != nil {
		t.Fatal(err)
	}
	all, out := memories(1)
	read(t, packet, page, out)
	var got []string
	for _, r := range all[0].records {
		if _, ok := counterOf(&r); ok {
			got = append(got, fmt.Sprintf("linktype %d outgoing %v length %d", r.Type, r.Flags&bus.Outgoing != 0, r.Aux))
		}
	}
	want := "linktype 101 outgoing true length 60\nlinktype 101 outgoing false length 60"
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
}

// What netd reflects passes twice, to ::1 by lo the second time, and is recorded
// once.
func TestReflections(t *testing.T) {
	four := packet4(1, 1, protoUDP, 0, 0, ports(1000, 80))
	copy(four[12:], localhost[:])
	copy(four[16:], localhost[:])
	six := packet6(1, 1, protoUDP, ports(1000, 80)) // ::1 to ::1
	other := packet6(2, 1, protoUDP, ports(1000, 80))
	lo := func(b []byte) frame { return frame{linkType: linkEthernet, data: ethernet(etherIPv6, b)} }
	for name, c := range map[string]struct {
		out, in frame
		repeats bool
	}{
		"127.0.0.1":       {frame{linkType: linkRaw, data: four}, frame{linkType: linkRaw, data: four}, true},
		"::1":             {frame{linkType: linkRaw, data: six}, lo(six), true},
		"other addresses": {frame{linkType: linkRaw, data: other}, lo(other), false},
	} {
		r := newReflections()
		c.out.flags = bus.Outgoing
		if r.repeats(&c.in) {
			t.Errorf("%s: a frame that did not go out repeats one", name)
		}
		if r.repeats(&c.out) {
			t.Errorf("%s: a frame that goes out repeats one", name)
		}
		if got := r.repeats(&c.in); got != c.repeats {
			t.Errorf("%s: what comes in repeats what went out: %v, want %v", name, got, c.repeats)
		}
	}
}

// What netd reflects passes the tun twice and is recorded once; what it
// answers itself is recorded although the addresses are the same.
func TestReflectedFrameOnce(t *testing.T) {
	n := newNamespace(t)
	tun := n.tun()
	packet, page := n.capture()
	raw := n.socket(unix.AF_PACKET, unix.SOCK_DGRAM)
	defer unix.Close(raw)
	index := 0
	n.do(func() {
		ifc, err := net.InterfaceByName("tun0")
		if err != nil {
			t.Error(err)
			return
		}
		index = ifc.Index
	})
	datagram := func(src, dst uint16, c uint64) []byte {
		p := binary.BigEndian.AppendUint64(ports(src, dst), c)
		p = packet4(1, 1, protoUDP, 0, 0, p)
		copy(p[12:], localhost[:])
		copy(p[16:], localhost[:])
		return p
	}
	for c := range uint64(100) {
		request := datagram(1000, 80, c%10) // the same ones again and again
		if err := unix.Sendto(raw, request, 0, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: index}); err != nil {
			t.Fatal(err)
		}
		tun.Write(request)
		tun.Write(datagram(80, 1000, c))
	}
	all, out := memories(1)
	read(t, packet, page, out)
	requests, answers := 0, 0
	for _, r := range all[0].records {
		if _, ok := counterOf(&r); !ok {
			continue
		}
		if r.Flags&bus.Outgoing != 0 {
			requests++
		} else if r.Payload[20+1] != 80 { // not from port 80
			t.Errorf("a request came in: %x", r.Payload)
		} else {
			answers++
		}
	}
	if requests != 100 || answers != 100 {
		t.Errorf("%d requests and %d answers, want 100 of each", requests, answers)
	}
}

func TestInterfaceThatComesLater(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.ip("link add v0 type veth peer name v1")
	n.ip("addr add 10.8.0.1/24 dev v0")
	n.ip("neigh add 10.8.0.2 lladdr 02:00:00:00:00:02 dev v0")
	n.ip("link set v1 up")
	n.ip("link set v0 up")
	send(t, n.udp([4]byte{10, 8, 0, 2}, 9), 5, 32)
	all, out := memories(1)
	read(t, packet, page, out)
	kinds := map[string]int{}
	for _, r := range all[0].records {
		if _, ok := counterOf(&r); ok {
			kinds[fmt.Sprintf("linktype %d outgoing %v", r.Type, r.Flags&bus.Outgoing != 0)]++
		}
	}
	if len(kinds) != 2 || kinds["linktype 1 outgoing true"] != 1 || kinds["linktype 1 outgoing false"] != 1 {
		t.Errorf("got %v, want the frame once at each end", kinds)
	}
}

func TestLargeFrameIsWhole(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	for i := range uint64(20) {
		send(t, fd, i, 65000)
	}
	all, out := memories(1)
	read(t, packet, page, out)
	if len(all[0].records) != 21 {
		t.Fatalf("%d records, want 20 frames and EOS", len(all[0].records))
	}
	for _, r := range all[0].records[:20] {
		if len(r.Payload) != 65042 || r.Flags&bus.Truncated != 0 {
			t.Fatalf("frame of %d bytes, flags %b", len(r.Payload), r.Flags)
		}
	}
}

// A flood that no reader takes is lost but for what the ring holds, and the
// number of lost frames is exact.
func TestDropsAreCounted(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	const count = 2000 // of 60 KB: 14 times the ring
	for i := range uint64(count) {
		send(t, fd, i, 60000)
	}
	all, out := memories(2)
	ring := read(t, packet, page, out)
	frames, lost := 0, uint64(0)
	for _, m := range all {
		for _, r := range m.records {
			switch r.Type {
			case bus.Dropped:
				lost += uint64(r.Aux)
			case bus.EOS:
			default:
				frames++
			}
		}
	}
	if lost == 0 || frames+int(lost) != count {
		t.Errorf("%d frames and %d lost, want %d in all and some lost", frames, lost, count)
	}
	if s := ring.Stats(); s.Packets != count || s.Drops != lost || s.Freezes == 0 {
		t.Errorf("statistics %+v, want %d packets, %d drops", s, count, lost)
	}
	if eos := all[1].records[len(all[1].records)-1]; eos.Offset != count {
		t.Errorf("EOS at %d, want %d", eos.Offset, count)
	}
}

// Twenty readers are killed during a flood. All frames must be there in the
// end: each once, or counted as lost.
func TestReaderKilledInFlood(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	dir := t.TempDir()
	gate, err := NewGate(int(packet.Fd()), int(page.Fd()), 50)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	stop := n.flood(gate)
	for kill := range 20 {
		reader := startReader(t, dir, packet, page)
		// Let each get some way: wait until it has released blocks.
		moved := gate.page.load().next + uint64(1+kill%5)
		for gate.page.load().next < moved {
			time.Sleep(100 * time.Microsecond)
		}
		reader.Process.Kill()
		reader.Wait()
	}
	total := stop()
	last := startReader(t, dir, packet, page)
	last.Process.Signal(unix.SIGTERM)
	if err := last.Wait(); err != nil {
		t.Fatal(err)
	}

	check := newAccount(t, total)
	for p := range 2 {
		records, _, err := readLogFile(logName(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		next := uint64(0)
		for i := range records {
			if records[i].Offset < next {
				t.Fatalf("partition %d: frame index %d after %d", p, records[i].Offset, next)
			}
			next = NextIndex(&records[i])
			check.record(p, &records[i])
		}
		if next != total || records[len(records)-1].Type != bus.EOS {
			t.Errorf("partition %d ends at frame index %d, want EOS at %d", p, next, total)
		}
	}
	check.done()
	t.Logf("%d frames, 20 kills", total)
}

// account compares the datagrams recorded with those sent.
type account struct {
	t     *testing.T
	seen  []bool
	found uint64
	lost  uint64
	parts map[int]bool
}

func newAccount(t *testing.T, sent uint64) *account {
	return &account{t: t, seen: make([]bool, sent), parts: map[int]bool{}}
}

func (a *account) record(partition int, r *bus.Record) {
	a.t.Helper()
	switch r.Type {
	case bus.EOS:
		return
	case bus.Dropped:
		a.lost += uint64(r.Aux)
		return
	}
	c, ok := counterOf(r)
	if !ok || c >= uint64(len(a.seen)) || a.seen[c] {
		a.t.Fatalf("partition %d: datagram %d twice or unknown (%v)", partition, c, ok)
	}
	a.seen[c] = true
	a.found++
	a.parts[partition] = true
}

func (a *account) done() {
	a.t.Helper()
	if a.found+a.lost != uint64(len(a.seen)) {
		a.t.Errorf("%d frames and %d lost, but %d sent", a.found, a.lost, len(a.seen))
	}
	if a.lost != 0 {
		a.t.Errorf("%d frames lost behind the gate", a.lost)
	}
	if len(a.parts) != 2 {
		a.t.Error("a partition is empty")
	}
}

// faulty fails at a certain call and has stored, as after a kill, some of what
// it was given.
type faulty struct {
	*memory
	calls *atomic.Int64
}

var errKilled = errors.New("killed")

func (f faulty) Publish(r *bus.Record) error {
	if f.calls.Add(-1) == 0 {
		return errKilled
	}
	return f.memory.Publish(r)
}

func (f faulty) Flush() error {
	if f.calls.Add(-1) == 0 {
		return errKilled
	}
	return f.memory.Flush()
}

// A reader that dies at any call of its output is followed by one that makes
// the output what it would have been.
func TestResumeAtAnyCall(t *testing.T) {
	n := newNamespace(t)
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	const first, lost = 130, 40 // the ring holds about 3 frames of 65000 bytes a block
	run := func(callsLeft int) (records [2][]bus.Record, failed bool) {
		var calls atomic.Int64
		calls.Store(int64(callsLeft))
		packet, page := n.capture()
		for i := range uint64(first + lost) {
			send(t, fd, i, 65000)
		}
		all, out := memories(2)
		for i := range out {
			out[i].Publisher = faulty{all[i], &calls}
		}
		ring, err := Map(int(packet.Fd()), int(page.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer ring.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = NewReader(ring, out).Run(ctx)
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		failed = err != nil
		if failed {
			for i := range out {
				out[i] = Output{Publisher: all[i]}
				if r := all[i].records; len(r) > 0 {
					last := &r[len(r)-1]
					out[i].Resume, out[i].Ended = NextIndex(last), last.Type == bus.EOS
				}
			}
			if err := NewReader(ring, out).Run(ctx); err != nil {
				t.Fatal(err)
			}
		}
		packet.Close()
		return [2][]bus.Record{all[0].records, all[1].records}, failed
	}
	// One frame is like the next; every call counts at the beginning and from
	// about the last flush of frames on.
	for calls := 1; ; calls++ {
		if calls > 4 && calls < 80 {
			calls += 8
		}
		got, failed := run(calls)
		frames, missing := 0, uint64(0)
		for p := range got {
			next := uint64(0)
			for i, r := range got[p] {
				if r.Offset < next {
					t.Fatalf("killed at call %d: partition %d: frame index %d after %d", calls, p, r.Offset, next)
				}
				next = NextIndex(&r)
				switch r.Type {
				case bus.Dropped:
					missing += uint64(r.Aux)
				case bus.EOS:
					if i != len(got[p])-1 || r.Offset != first+lost {
						t.Fatalf("killed at call %d: partition %d: EOS at %d", calls, p, r.Offset)
					}
				default:
					frames++
				}
			}
			if k := len(got[p]); k == 0 || got[p][k-1].Type != bus.EOS {
				t.Fatalf("killed at call %d: partition %d: no EOS", calls, p)
			}
		}
		if missing == 0 || uint64(frames)+missing != first+lost {
			t.Fatalf("killed at call %d: %d frames and %d lost, want %d in all", calls, frames, missing, first+lost)
		}
		if !failed {
			break
		}
	}
}

// A reader that died between two stores to the shared memory leaves blocks in
// the ring that were copied, and in the backlog that were published.
func TestResumeBetweenStores(t *testing.T) {
	n := newNamespace(t)
	packet, page := n.capture()
	n.bind(9000)
	fd := n.udp(localhost, 9000)
	for i := range uint64(30) {
		send(t, fd, i, 60000)
	}
	ring, err := Map(int(packet.Fd()), int(page.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	all, out := memories(1)
	r := NewReader(ring, out)
	b, err := openBacklog(ring, 1)
	if err != nil {
		t.Fatal(err)
	}
	for place := range 5 {
		b.take(place)
	}
	// Block 5 as if it had not been released, 1 and 2 as if they had not been freed.
	*ring.statuses[4] |= unix.TP_STATUS_USER
	pos := ring.page.load()
	for place := range 2 {
		if pos.index, err = r.publish(b.block(place), pos.index); err != nil {
			t.Fatal(err)
		}
		pos.next++
	}
	ring.page.commit(pos)
	read(t, packet, page, []Output{{Publisher: all[0], Resume: pos.index}})
	for i := range 30 {
		if c, _ := counterOf(&all[0].records[i]); c != uint64(i) {
			t.Fatalf("record %d is datagram %d", i, c)
		}
	}
	if len(all[0].records) != 31 || ring.waits() != 0 || ring.page.waiting.Load() != 0 {
		t.Errorf("%d records, %d blocks not released, %d not freed", len(all[0].records), ring.waits(), ring.page.waiting.Load())
	}
}
