package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"clipper/integration/truth"
)

// keyhook compares programs under `clipper keys` with the same without, in
// rounds that alternate. The numbers are the programs' own clock, the median of
// the rounds.
func keyhook(bin string, seconds int) error {
	dir, err := os.MkdirTemp("", "clipper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const data = "integration/cmd/bench/testdata/"
	storm, static, goTLS := filepath.Join(dir, "storm"), filepath.Join(dir, "static"), filepath.Join(dir, "go")
	for _, build := range [][]string{
		{"gcc", "-O1", "-o", storm, data + "storm.c"},
		{"gcc", "-O1", "-static", "-o", static, data + "nothing.c"},
		{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", goTLS, "./keyhook/testdata/goclient"},
	} {
		if out, err := exec.Command(build[0], build[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w\n%s", build, err, out)
		}
	}
	libc, err := libcPath()
	if err != nil {
		return err
	}
	const ms, us = 1e6, 1e3
	fmt.Printf("\n%-34s %12s %12s %10s %7s\n", "", "without", "with", "added", "ratio")
	for _, c := range []struct {
		name   string
		argv   []string
		rounds int
		unit   float64
		suffix string
	}{
		{"exec, static", []string{"exec", "200", static}, 5, us, "µs"},
		{"exec, dynamic", []string{"exec", "200", "/bin/true"}, 5, us, "µs"},
		{"exec, Go program that is hooked", []string{"exec", "100", goTLS}, 5, us, "µs"},
		{"exec, curl --version (hooked)", []string{"exec", "30", "/usr/bin/curl", "--version"}, 5, us, "µs"},
		{"exec, python3 -c pass", []string{"exec", "20", "/usr/bin/python3", "-c", "pass"}, 5, us, "µs"},
		{"1,000 execs", []string{"storm", "1000", "/bin/true"}, 3, ms, "ms"},
		{"executable map of libc", []string{"map", "3000", libc}, 5, us, "µs"},
		{"getpid", []string{"getpid", "2000"}, 5, 1, "ns"},
	} {
		without, with, err := alternate(bin, c.rounds, append([]string{storm}, c.argv...), lastNumber)
		if err != nil {
			fmt.Printf("%-34s %v\n", c.name, err)
			continue
		}
		fmt.Printf("%-34s %9.1f %s %9.1f %s %7.1f %s %6.2f\n", c.name, without/c.unit, c.suffix, with/c.unit, c.suffix, (with-without)/c.unit, c.suffix, with/without)
	}
	return handshakes(bin, dir, seconds)
}

// alternate runs argv without and with Clipper and returns the medians.
func alternate(bin string, rounds int, argv []string, read func(string) (float64, error)) (without, with float64, err error) {
	var w, o []float64
	for range rounds {
		for i, args := range [][]string{argv, append([]string{bin, "keys", "--keylog", os.DevNull, "--"}, argv...)} {
			out, err := exec.Command(args[0], args[1:]...).Output()
			if err != nil {
				return 0, 0, fmt.Errorf("%q: %w", args, err)
			}
			v, err := read(string(out))
			if err != nil {
				return 0, 0, fmt.Errorf("%q: %w", args, err)
			}
			if i == 0 {
				o = append(o, v)
			} else {
				w = append(w, v)
			}
		}
	}
	slices.Sort(o)
	slices.Sort(w)
	return o[rounds/2], w[rounds/2], nil
}

func lastNumber(out string) (float64, error) { return strconv.ParseFloat(strings.TrimSpace(out), 64) }

// libcPath is where this program's C library would be.
func libcPath() (string, error) {
	out, err := exec.Command("gcc", "-print-file-name=libc.so.6").Output()
	return strings.TrimSpace(string(out)), err
}

var connections = regexp.MustCompile(`(\d+) connections in (\d+) real seconds`)

// handshakes is the rate of new connections of one thread to openssl s_server.
func handshakes(bin, dir string, seconds int) error {
	_, cert, key, err := truth.Certificate()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(file, append(cert, key...), 0o600); err != nil {
		return err
	}
	server := exec.Command("openssl", "s_server", "-www", "-cert", file, "-accept", "127.0.0.1:0")
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Wait()
	defer server.Process.Kill()
	lines, port := bufio.NewScanner(out), ""
	for port == "" && lines.Scan() {
		port, _ = strings.CutPrefix(lines.Text(), "ACCEPT 127.0.0.1:")
		if port == lines.Text() {
			port = ""
		}
	}
	go io.Copy(io.Discard, out)
	const rounds = 5
	argv := []string{"openssl", "s_time", "-connect", "127.0.0.1:" + port, "-new", "-time", strconv.Itoa(max(seconds/rounds, 1))}
	without, with, err := alternate(bin, rounds, argv, func(out string) (float64, error) {
		m := connections.FindStringSubmatch(out)
		if m == nil {
			return 0, fmt.Errorf("no rate in %q", out)
		}
		n, _ := strconv.ParseFloat(m[1], 64)
		s, err := strconv.ParseFloat(m[2], 64)
		return n / s, err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%-34s %10.0f/s %10.0f/s %12s %7.2f\n", "handshakes of one thread", without, with, "", with/without)
	return nil
}
