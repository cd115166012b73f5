package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"clipper/integration/truth"
)

// A decoding is one kind of traffic, which Clipper and tshark read from the same
// file. amount counts what is decoded, for the rates.
type decoding struct {
	name   string
	file   string // under the captures
	amount float64
	unit   string
	least  float64 // the ratio that is the aim
	plain  bool    // no TLS
	client func(s *truth.Server, ca string) []string
	// filter has tshark print a line for each of count frames or messages; layers is
	// what it has to tell of them.
	filter, layers string
	count          int
}

// decode compares the CPU seconds of `clipper read` and tshark. The captures are
// made once, by `clipper up -w`, and kept in dir.
func decode(bin, client, dir string, requests, bulk int) error {
	if _, err := exec.LookPath("tshark"); err != nil {
		return errors.New("tshark is not installed: apt-get install tshark")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	parts := 4
	kinds := []decoding{{
		name: "small HTTP/2 requests over TLS 1.3", file: fmt.Sprintf("h2-%d.pcapng", requests), amount: float64(requests), unit: "requests", least: 30,
		client: func(s *truth.Server, ca string) []string {
			return []string{client, "-ca", ca, "-n", strconv.Itoa(requests), "-c", "10", "-h2", s.URL}
		},
		filter: "http2.headers.method", layers: "http2", count: requests,
	}, {
		name: "bulk HTTP/1.1 over TLS 1.3", file: fmt.Sprintf("bulk-%d.pcapng", bulk), amount: float64(bulk), unit: "MB", least: 40,
		client: func(s *truth.Server, ca string) []string {
			c := []string{"curl", "-sS", "--http1.1", "--cacert", ca}
			for range parts {
				c = append(c, "-o", "/dev/null", fmt.Sprintf("%s/size/%d", s.URL, bulk*1e6/parts))
			}
			return c
		},
		filter: "http.response", layers: "http", count: parts,
	}, {
		name: "plain HTTP/1.1", file: fmt.Sprintf("plain-%d.pcapng", requests), amount: float64(requests), unit: "requests", least: 15, plain: true,
		client: func(s *truth.Server, _ string) []string {
			return []string{client, "-n", strconv.Itoa(requests), "-c", "10", s.URL}
		},
		filter: "http.request", layers: "http", count: requests,
	}}
	for _, k := range kinds {
		path := filepath.Join(dir, k.file)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := k.capture(bin, path); err != nil {
				return err
			}
		}
		if err := k.compare(bin, path); err != nil {
			return err
		}
	}
	return nil
}

// capture makes the file.
func (k *decoding) capture(bin, path string) error {
	s, dir, ca, err := startTruth(truth.Options{Plain: k.plain})
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer s.Close()
	part := path + ".part"
	cmd := exec.Command(bin, append([]string{"up", "-q", "--no-devtools", "-w", part, "--"}, k.client(s, ca)...)...)
	cmd.Env = append(os.Environ(), "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w", cmd.Args, err)
	}
	return os.Rename(part, path)
}

// compare reads the file with both and checks that both saw all of it. Two
// things are compared: to find the messages, which tshark does at its cheapest
// for one field; and to write down what is in them, as JSON.
func (k *decoding) compare(bin, path string) error {
	find, err := cpuOf(exec.Command(bin, "read", "-q", path), nil)
	if err != nil {
		return err
	}
	var lines lineCounter
	write, err := cpuOf(exec.Command(bin, "read", "-q", "--json", "-", path), &lines)
	if err != nil {
		return err
	}
	if lines.lines != k.count {
		return fmt.Errorf("%s: clipper gives %d exchanges, want %d", path, lines.lines, k.count)
	}
	var fields lineCounter
	tsharkFind, err := cpuOf(exec.Command("tshark", "-n", "-r", path, "-Y", k.filter, "-T", "fields", "-e", k.filter), &fields)
	if err != nil {
		return err
	}
	// A frame may hold several messages, separated by commas.
	if n := fields.lines + fields.commas; n != k.count {
		return fmt.Errorf("%s: tshark gives %d messages, want %d", path, n, k.count)
	}
	tsharkWrite, err := cpuOf(exec.Command("tshark", "-n", "-r", path, "-Y", k.layers, "-T", "json", "-J", k.layers), io.Discard)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: %.0f %s\n", k.name, k.amount, k.unit)
	fmt.Printf("  %-46s %8.2f CPU s %10.0f %s/CPU s\n", "clipper read -q", find, k.amount/find, k.unit)
	fmt.Printf("  %-46s %8.2f CPU s %10.0f %s/CPU s\n", "tshark -Y "+k.filter+" -T fields", tsharkFind, k.amount/tsharkFind, k.unit)
	fmt.Printf("  %-46s %8.2f CPU s %10.0f %s/CPU s\n", "clipper read -q --json -", write, k.amount/write, k.unit)
	fmt.Printf("  %-46s %8.2f CPU s %10.0f %s/CPU s\n", "tshark -Y "+k.layers+" -T json", tsharkWrite, k.amount/tsharkWrite, k.unit)
	fmt.Printf("  to find: %.1f times tshark; to find, against tshark -T json: %.1f (aim %.0f); to write: %.1f\n",
		tsharkFind/find, tsharkWrite/find, k.least, tsharkWrite/write)
	return nil
}

// lineCounter counts what is written to it.
type lineCounter struct{ lines, commas int }

func (l *lineCounter) Write(b []byte) (int, error) {
	l.lines += bytes.Count(b, []byte("\n"))
	l.commas += bytes.Count(b, []byte(","))
	return len(b), nil
}

// cpuOf runs cmd and gives its CPU seconds.
func cpuOf(cmd *exec.Cmd, out io.Writer) (float64, error) {
	cmd.Stdout = out
	var errors strings.Builder
	cmd.Stderr = &errors
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%v: %w: %s", cmd.Args, err, errors.String())
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}
