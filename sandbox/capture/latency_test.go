//go:build linux

package capture

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// delays measures the time from a frame to its publication.
type delays []time.Duration

func (d *delays) Publish(r *bus.Record) error {
	if r.Type == linkEthernet {
		*d = append(*d, time.Duration(time.Now().UnixNano()-r.Time))
	}
	return nil
}

func (d *delays) Flush() error { return nil }

// BenchmarkLatency shows what RetireTimeout costs: the delay of a lonely frame
// and the processor time of a quiet reader.
func BenchmarkLatency(b *testing.B) {
	for _, retire := range []uint32{1, 2, 4, 8, 10, 20} {
		b.Run(fmt.Sprintf("retire=%dms", retire), func(b *testing.B) {
			n := newNamespace(b)
			fd := n.socket(unix.AF_PACKET, unix.SOCK_RAW)
			packet := os.NewFile(uintptr(fd), "packet")
			defer packet.Close()
			if err := setup(fd, retire); err != nil {
				b.Fatal(err)
			}
			page, err := NewPage()
			if err != nil {
				b.Fatal(err)
			}
			defer page.Close()
			n.bind(9000)
			out := n.udp(localhost, 9000)
			ring, err := Map(fd, int(page.Fd()))
			if err != nil {
				b.Fatal(err)
			}
			defer ring.Close()
			var d delays
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- NewReader(ring, []Output{{Publisher: &d}}).Run(ctx) }()
			var before, after unix.Rusage
			unix.Getrusage(unix.RUSAGE_SELF, &before)
			start := time.Now()
			for i := range b.N {
				unix.Write(out, make([]byte, 16))
				time.Sleep(17*time.Millisecond + time.Duration(i%10)*time.Millisecond)
			}
			elapsed := time.Since(start)
			unix.Getrusage(unix.RUSAGE_SELF, &after)
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			slices.Sort(d)
			b.ReportMetric(float64(d[len(d)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), "p99-µs")
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(100*cpu.Seconds()/elapsed.Seconds(), "cpu-%")
		})
	}
}
