package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"clipper/integration/truth"
)

// outputs measures what each output costs the app: requests/s under `clipper up`
// with it, against without any, in turns; and the CPU time of Clipper and the app
// together, which a busy machine blurs less.
func outputs(bin, client string, n, c, turns int) error {
	s, dir, ca, err := startTruth(truth.Options{})
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer s.Close()
	out := filepath.Join(dir, "out")
	kinds := []struct {
		name  string
		flags []string
	}{
		{"none", nil},
		{"-w", []string{"-w", out}},
		{"--har", []string{"--har", out}},
		{"--json", []string{"--json", out}},
		{"--keep", []string{"--keep", "bench", "--keep-max", "4G"}},
		{"--filter", []string{"--har", out, "--filter", `status < 500 && host != ""`}},
	}
	rates, costs := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for range turns {
		for i, k := range kinds {
			argv := append([]string{"up", "-q", "--no-devtools"}, k.flags...)
			argv = append(argv, "--", client, "-ca", ca, "-n", strconv.Itoa(n), "-c", strconv.Itoa(c), s.URL)
			cmd := exec.Command(bin, argv...)
			cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir)
			rate, _, err := timed(cmd, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			rates[i] = append(rates[i], rate)
			costs[i] = append(costs[i], float64((cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Microseconds())/float64(n))
			if err := os.RemoveAll(filepath.Join(dir, "clipper")); err != nil { // what was kept
				return err
			}
		}
	}
	fmt.Printf("\n%d requests over %d connections, requests/s of the app by output, and CPU µs a request, medians of %d\n", n, c, turns)
	median := func(r []float64) float64 {
		slices.Sort(r)
		return r[len(r)/2]
	}
	without, cost := median(rates[0]), median(costs[0])
	for i, k := range kinds {
		m := median(rates[i])
		c := median(costs[i])
		fmt.Printf("  %-10s %8.0f  ratio %.2f  %6.0f µs %+5.0f\n", k.name, m, m/without, c, c-cost)
	}
	return nil
}
