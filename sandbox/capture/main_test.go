//go:build linux

package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// session is an embedded server whose access file the role gets.
func session(t testing.TB, partitions int) (b *natsbus.Bus, accessFile string) {
	t.Helper()
	dir := t.TempDir()
	srv, err := natsbus.StartServer(natsbus.ServerConfig{StoreDir: filepath.Join(dir, "nats"), Session: "test", Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	accessFile = filepath.Join(dir, "access.json")
	if err := srv.Access().WithoutKeys().WriteFile(accessFile); err != nil {
		t.Fatal(err)
	}
	b, err = natsbus.Connect(context.Background(), srv.InProcess(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, accessFile
}

// startRole starts the role "capture" and waits until it is ready.
func startRole(t testing.TB, access string, packet, page *os.File) *exec.Cmd {
	t.Helper()
	ready, done, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	options, err := json.Marshal(Options{PacketFD: 3, PageFD: 4, ReadyFD: 5})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "CAPTURE_TEST_ROLE=1", natsbus.AccessEnv+"="+access, natsbus.OptionsEnv+"="+string(options))
	c.ExtraFiles = []*os.File{packet, page, done}
	c.Stderr = os.Stderr
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done.Close()
	want := 1
	if p, err := openPage(int(page.Fd())); err != nil {
		t.Fatal(err)
	} else {
		want -= int(p.ready.Load()) // only the first one says so
		p.unmap()
	}
	if b, err := io.ReadAll(ready); len(b) != want || err != nil {
		t.Fatalf("the role said it was ready by %d bytes, %v, want %d", len(b), err, want)
	}
	return c
}

// The role publishes each frame once, whatever happens to it.
func TestRoleKilledInFlood(t *testing.T) {
	const partitions, kills = 2, 20
	n := newNamespace(t)
	packet, page := n.capture()
	b, access := session(t, partitions)
	n.bind(9000)
	gate, err := NewGate(int(packet.Fd()), int(page.Fd()), 50)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	stop := n.flood(gate)
	for kill := range kills {
		role := startRole(t, access, packet, page)
		moved := gate.page.load().next + uint64(1+kill%5)
		for gate.page.load().next < moved {
			time.Sleep(100 * time.Microsecond)
		}
		role.Process.Kill()
		role.Wait()
	}
	total := stop()
	last := startRole(t, access, packet, page)
	last.Process.Signal(unix.SIGTERM)
	if err := last.Wait(); err != nil {
		t.Fatal(err)
	}
	check := newAccount(t, total)
	for p := range partitions {
		next := uint64(0)
		err := b.Follow(context.Background(), bus.Frames, p, 0, func(m *natsbus.Batch) error {
			for r := range m.Records() {
				if r.Offset < next {
					return fmt.Errorf("frame index %d after %d", r.Offset, next)
				}
				next = NextIndex(r)
				check.record(p, r)
			}
			return m.Err
		})
		if err != nil {
			t.Fatalf("partition %d: %v", p, err)
		}
		if next != total {
			t.Errorf("partition %d ends at frame index %d, want %d", p, next, total)
		}
	}
	check.done()
	t.Logf("%d frames, %d kills", total, kills)
}

// BenchmarkRole is the rate at which frames get from the ring into the bus's
// store, with the sender held back by the gate.
func BenchmarkRole(b *testing.B) {
	for _, size := range []int{60000, 1400, 100} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			n := newNamespace(b)
			packet, page := n.capture()
			_, access := session(b, 2)
			n.bind(9000)
			gate, err := NewGate(int(packet.Fd()), int(page.Fd()), 50)
			if err != nil {
				b.Fatal(err)
			}
			defer gate.Close()
			flows := n.flows(4)
			role := startRole(b, access, packet, page)
			b.SetBytes(int64(size))
			data := make([]byte, size)
			for i := 0; b.Loop(); i++ {
				gate.Wait()
				unix.Write(flows[i%4], data)
			}
			resident := highWater(b, role.Process.Pid)
			role.Process.Signal(unix.SIGTERM)
			if err := role.Wait(); err != nil {
				b.Fatal(err)
			}
			if s := gate.Stats(); s.Drops != 0 {
				b.Errorf("%d of %d frames lost", s.Drops, s.Packets)
			}
			cpu := role.ProcessState.UserTime() + role.ProcessState.SystemTime()
			b.ReportMetric(cpu.Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
			b.ReportMetric(resident, "MiB")
		})
	}
}

// highWater is the most memory that a process has had, in MiB, the mapped ring
// included.
func highWater(b *testing.B, pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	fmt.Sscan(line, &kib)
	return kib / 1024
}
