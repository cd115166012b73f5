// Bench measures the whole system against the same work without Clipper, in one
// run: machines differ and are noisy, so ratios are what counts.
//
//	bench -clipper bin/clipper load     10,000 HTTPS requests over 50 connections
//	bench -clipper bin/clipper outputs  what -w, --har and others cost the app
//	bench -clipper bin/clipper startup  `clipper up -- true` against `true`
//	bench -clipper bin/clipper net      the network against slirp4netns and pasta
//	bench -clipper bin/clipper keyhook  programs under `clipper keys` against the same without
//	bench -clipper bin/clipper decode   `clipper read` against tshark on the same files
//	bench -clipper bin/clipper rows     how long after its packet a row reaches DevTools
//	bench -clipper bin/clipper memory   `clipper read` of a large capture from a pipe
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"clipper/integration/truth"
)

func main() {
	bin := flag.String("clipper", "bin/clipper", "the clipper binary")
	client := flag.String("goclient", "bin/goclient", "the test client")
	sandbox := flag.String("sandbox", "bin/sandbox.test", "the test binary of the module sandbox")
	n := flag.Int("n", 10000, "requests")
	c := flag.Int("c", 50, "connections")
	captures := flag.String("captures", "bin/captures", "directory of the captures of decode, which are made once")
	requests := flag.Int("requests", 100000, "of the captures of decode with small requests")
	bulk := flag.Int("bulk", 400, "MB of the bulk capture of decode")
	size := flag.Float64("gib", 4, "GiB of the capture of memory")
	conns := flag.Int("conns", 10000, "its connections")
	seconds := flag.Int("seconds", 10, "of each run of keyhook's handshakes")
	flag.Parse()
	var err error
	switch flag.Arg(0) {
	case "load":
		err = load(*bin, *client, *n, *c)
	case "outputs":
		err = outputs(*bin, *client, 3000, *c, 5)
	case "keyhook":
		err = keyhook(*bin, *seconds)
	case "decode":
		err = decode(*bin, *client, *captures, *requests, *bulk)
	case "memory":
		err = readMemory(*bin, int64(*size*(1<<30)), *conns)
	case "startup":
		err = startup(*bin, 15)
	case "rows":
		err = rowDelays(*bin, 500)
	case "net":
		err = network(*bin, *sandbox, 2)
	case "latency": // what net runs inside
		err = latency(flag.Arg(1))
	case "hold":
		n, _ := strconv.Atoi(flag.Arg(2))
		err = hold(flag.Arg(1), n)
	default:
		err = fmt.Errorf("usage: bench [flags] load | outputs | startup | net | keyhook | decode | rows | memory")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// startTruth starts a server and makes a directory with its certificate, ca. The
// caller closes the one and removes the other.
func startTruth(o truth.Options) (s *truth.Server, dir, ca string, err error) {
	if s, err = truth.Start(o); err != nil {
		return nil, "", "", err
	}
	if dir, err = os.MkdirTemp("", "clipper-bench-"); err == nil {
		ca = filepath.Join(dir, "ca.pem")
		err = s.WriteCA(ca)
	}
	if err != nil {
		s.Close()
		os.RemoveAll(dir)
		return nil, "", "", err
	}
	return s, dir, ca, nil
}

// load sends n requests over c connections, outside and inside.
func load(bin, client string, n, c int) error {
	s, dir, ca, err := startTruth(truth.Options{})
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer s.Close()
	har := filepath.Join(dir, "out.har")
	for _, h2 := range []bool{false, true} {
		args := []string{client, "-ca", ca, "-n", strconv.Itoa(n), "-c", strconv.Itoa(c), "-h2=" + strconv.FormatBool(h2), s.URL}
		outside, _, err := timed(exec.Command(args[0], args[1:]...), dir)
		if err != nil {
			return err
		}
		before := s.Count()
		inside, usage, err := timed(exec.Command(bin, append([]string{"up", "-q", "--no-devtools", "--har", har, "--"}, args...)...), dir)
		if err != nil {
			return err
		}
		entries, err := count(har)
		if err != nil {
			return err
		}
		fmt.Printf("\n%d requests over %d connections, h2=%v\n", n, c, h2)
		fmt.Printf("  outside: %.0f requests/s\n", outside)
		fmt.Printf("  inside:  %.0f requests/s, ratio %.2f\n", inside, inside/outside)
		fmt.Printf("  served %d, in the HAR %d, lost %d\n", s.Count()-before, entries, s.Count()-before-entries)
		fmt.Printf("  %-14s %8s %12s\n", "process", "CPU s", "peak MiB")
		var total float64
		for _, name := range slices.Sorted(mapKeys(usage)) {
			u := usage[name]
			total += u.cpu
			fmt.Printf("  %-14s %8.2f %12.1f\n", name, u.cpu, float64(u.peak)/1024)
		}
		fmt.Printf("  all of Clipper and the app: %.2f CPU s, %.0f µs a request\n", total, total*1e6/float64(n))
		if entries != s.Count()-before {
			return fmt.Errorf("%d exchanges were lost", s.Count()-before-entries)
		}
	}
	return nil
}

func mapKeys(m map[string]usage) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// usage of one process: CPU seconds and peak resident KiB.
type usage struct {
	cpu  float64
	peak int
}

// timed runs cmd, returns the rate that the client printed, and what each
// process of the tree used, by looking at /proc every 20 ms.
func timed(cmd *exec.Cmd, dir string) (rate float64, used map[string]usage, err error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.Env = append(cmd.Environ(), "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	used = map[string]usage{}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err := <-done:
			if err != nil {
				return 0, nil, fmt.Errorf("%v: %w", cmd.Args, err)
			}
			f := strings.Fields(out.String())
			if len(f) < 2 {
				return 0, nil, fmt.Errorf("the client printed %q", out.String())
			}
			rate, err = strconv.ParseFloat(f[len(f)-2], 64)
			return rate, used, err
		case <-time.After(20 * time.Millisecond):
			look(cmd.Process.Pid, "up", used)
			for _, pid := range children(cmd.Process.Pid) {
				look(pid, "", used)
			}
		}
	}
}

func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			if p, err := strconv.Atoi(s); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// look notes what a process has used so far, under its role's name.
func look(pid int, name string, used map[string]usage) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	cmdline, _ := os.ReadFile(proc + "cmdline")
	if name == "" {
		argv := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
		if name = filepath.Base(argv[0]); name == "clipper" && len(argv) > 1 {
			name = argv[1]
		}
	}
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return
	}
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	u := used[name]
	u.cpu = max(u.cpu, float64(user+sys)/100)
	status, _ := os.ReadFile(proc + "status")
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		if f := strings.Fields(after); len(f) > 0 {
			kib, _ := strconv.Atoi(f[0])
			u.peak = max(u.peak, kib)
		}
	}
	used[name] = u
}

func count(har string) (int, error) {
	b, err := os.ReadFile(har)
	if err != nil {
		return 0, err
	}
	var h struct {
		Log struct{ Entries []json.RawMessage }
	}
	err = json.Unmarshal(b, &h)
	return len(h.Log.Entries), err
}

// startup compares the medians of n runs each, taken in turns. The command is
// date, which tells when it ran: what comes before it delays the app, what comes
// after delays only who waits for Clipper.
func startup(bin string, n int) error {
	dir, err := os.MkdirTemp("", "clipper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	names := []string{"date", "up --no-devtools", "up"}
	prefixes := [][]string{nil, {bin, "up", "-q", "--no-devtools", "--"}, {bin, "up", "-q", "--"}}
	parts := []string{"before", "after", "in all"}
	times := make([][3][]time.Duration, len(names))
	for range n {
		for i, prefix := range prefixes {
			argv := append(slices.Clone(prefix), "date", "+%s%N")
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
			start := time.Now()
			out, err := cmd.Output()
			end := time.Now()
			if err != nil {
				return fmt.Errorf("%v: %w", argv, err)
			}
			ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
			if err != nil {
				return err
			}
			ran := time.Unix(0, ns)
			for k, d := range []time.Duration{ran.Sub(start), end.Sub(ran), end.Sub(start)} {
				times[i][k] = append(times[i][k], d)
			}
		}
	}
	fmt.Printf("%-18s", "ms, median (min)")
	for _, part := range parts {
		fmt.Printf("%20s", part)
	}
	fmt.Println()
	for i, name := range names {
		fmt.Printf("%-18s", name)
		for k := range parts {
			slices.Sort(times[i][k])
			t := times[i][k]
			fmt.Printf("%11.1f (%6.1f)", ms(t[n/2]), ms(t[0]))
		}
		fmt.Println()
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
