package keyhook

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkCost compares what the filter and the supervisor notify with the
// same outside, by the medians of the program's own clock: ns/without,
// ns/with. b.N means nothing.
func BenchmarkCost(b *testing.B) {
	bench := newBench(b)
	storm := bench.cc(b, "storm")
	static := bench.cc(b, "nothing", "-static")
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"exec static", []string{"exec", static, "400"}},
		{"exec dynamic", []string{"exec", "/bin/true", "400"}},
		{"exec Go with TLS", []string{"exec", bench.build(b, "goclient", "go-bench"), "40"}},
		{"map of libc", []string{"map", "/lib/x86_64-linux-gnu/libc.so.6", "3000"}},
		{"getpid", []string{"getpid", "2000"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				out, err := exec.Command(storm, c.argv...).Output()
				if err != nil {
					b.Skipf("SKIPPED: %v", err)
				}
				o := bench.run(b, bench.user, nil, append([]string{storm}, c.argv...)...)
				without, err1 := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
				with, err2 := strconv.ParseFloat(strings.TrimSpace(o.stdout), 64)
				if err1 != nil || err2 != nil {
					b.Fatalf("%v %v: %s%s", err1, err2, o.stdout, o.stderr)
				}
				b.ReportMetric(without, "ns/without")
				b.ReportMetric(with, "ns/with")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
