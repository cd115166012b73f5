//go:build linux

package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/sandbox"
	"clipper/sandbox/capture"
	"clipper/sandbox/netd"

	"golang.org/x/sys/unix"
)

// netdWithOwners is the role netd, which writes the owners of flows to a file.
func netdWithOwners(path string) int {
	var o netd.Options
	if err := json.Unmarshal([]byte(os.Getenv(natsbus.OptionsEnv)), &o); err != nil {
		panic(err)
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	o.Owner = func(e bus.ProcEvent) {
		b, _ := json.Marshal(e)
		f.Write(append(b, '\n'))
	}
	if socket := os.Getenv(conditionsEnv); socket != "" {
		o.Conditions = func(apply func(bus.Conditions) error) <-chan struct{} {
			serveConditions(socket, apply)
			return nil
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer cancel()
	if err := netd.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestOwners(t *testing.T) {
	tcp := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, c) })
	udp := udpPeer(t)
	eachUser(t, func(t *testing.T, w *who) {
		path := filepath.Join(w.home, "owners")
		script := fmt.Sprintf(`echo $$; %[1]s client own tcp %[2]s %[4]s 1 & echo $!; wait; %[1]s client own udp %[3]s %[4]s 2 & echo $!; wait; exec %[1]s client own tcp %[2]s %[4]s 3`, w.bin, tcp, udp, path)
		cmd := w.command(t, settings{}, "sh", "-c", script)
		cmd.Env = append(cmd.Env, ownersEnv+"="+path)
		pids := strings.Fields(ok(t, cmd))
		if len(pids) != 3 {
			t.Fatalf("pids %q", pids)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(b)) {
			var e bus.ProcEvent
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Type != bus.ProcSocket || e.Time == 0 || !e.Local.IsValid() {
				t.Errorf("%+v", e)
			}
			got = append(got, fmt.Sprint(e.PID, " ", e.Transport, " ", e.Remote))
		}
		want := []string{pids[1] + " tcp " + tcp, pids[2] + " udp " + udp, pids[0] + " tcp " + tcp}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("owners\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// While the reader of the capture is away, TCP waits and no frame is lost.
func TestGate(t *testing.T) {
	const size = 64 << 20
	source := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(c, stream(size)) })
	sink := listen(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(io.Discard, c) })
	for name, argv := range map[string][]string{
		"download": {"download", source},
		"upload":   {"half-close-after", sink, fmt.Sprint(size)},
	} {
		t.Run(name, func(t *testing.T) {
			w := caller(t)
			sb, err := sandbox.Start(sandbox.Spec{Argv: append([]string{w.bin, "client"}, argv...)})
			if err != nil {
				t.Fatal(err)
			}
			defer sb.Close()
			if err := capture.Setup(int(sb.Packet.Fd())); err != nil {
				t.Fatal(err)
			}
			page, err := capture.NewPage()
			if err != nil {
				t.Fatal(err)
			}
			defer page.Close()
			ctx, cancel := context.WithCancel(context.Background())
			stopped := make(chan error, 1)
			go func() {
				stopped <- netd.Run(ctx, netd.Options{TunFD: dup(t, sb.Tun), DiagFD: int(sb.Diag.Fd()), PacketFD: int(sb.Packet.Fd()), PageFD: int(page.Fd()), MTU: sb.MTU})
			}()
			if err := sb.Release(); err != nil {
				t.Fatal(err)
			}
			ring, err := capture.Map(int(sb.Packet.Fd()), int(page.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			// Nobody reads until nothing moves any more.
			for last := -1; ; {
				time.Sleep(300 * time.Millisecond)
				fill := ringFill(t, sb, page)
				if fill == last && fill > 0 {
					break
				}
				last = fill
			}
			select {
			case <-sb.Done():
				t.Error("the program ended although nobody read the capture")
			default:
			}
			var count counter
			readCtx, stopReading := context.WithCancel(context.Background())
			read := make(chan error, 1)
			go func() { read <- capture.NewReader(ring, []capture.Output{{Publisher: &count}}).Run(readCtx) }()
			if code, err := sb.Wait(); code != 0 || err != nil {
				t.Errorf("exit status %d, %v", code, err)
			}
			cancel()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			stopReading()
			if err := <-read; err != nil {
				t.Error(err)
			}
			if s := ring.Stats(); s.Drops != 0 || count.dropped.Load() != 0 {
				t.Errorf("%+v, published losses %d", s, count.dropped.Load())
			}
			if n := count.bytes.Load(); n < size {
				t.Errorf("%d bytes in the capture, at least %d moved", n, size)
			}
		})
	}
}

func dup(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func ringFill(t *testing.T, sb *sandbox.Sandbox, page *os.File) int {
	t.Helper()
	g, err := capture.NewGate(int(sb.Packet.Fd()), int(page.Fd()), 50)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	return g.Fill()
}

type counter struct{ bytes, dropped atomic.Int64 }

func (c *counter) Publish(r *bus.Record) error {
	if r.Type == bus.Dropped {
		c.dropped.Add(int64(r.Aux))
	}
	c.bytes.Add(int64(len(r.Payload)))
	return nil
}

func (c *counter) Flush() error { return nil }
