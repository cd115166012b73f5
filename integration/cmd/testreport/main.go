// Testreport reads the output of `go test -json` on standard input and prints
// what a person needs: a line for each package, the output of what failed, every
// skipped test with its reason, and the count. It exits 1 when something failed,
// or when a test was skipped that the file of allowed skips does not list.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

func main() {
	allowed := flag.String("allowed-skips", "", "file that lists the tests that may be skipped, one `package test reason` a line")
	flag.Parse()
	var list []string
	if *allowed != "" {
		b, err := os.ReadFile(*allowed)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testreport:", err)
			os.Exit(2)
		}
		list = parseAllowed(string(b))
	}
	if !report(os.Stdin, os.Stdout, list) {
		os.Exit(1)
	}
}

// parseAllowed reads lines of `package test reason…`; # starts a comment. * in
// the name stands for any characters but a slash.
func parseAllowed(text string) (list []string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 3 && !strings.HasPrefix(f[0], "#") {
			list = append(list, f[0]+" "+f[1])
		}
	}
	return list
}

func isAllowed(list []string, test string) bool {
	return slices.ContainsFunc(list, func(a string) bool {
		ok, err := path.Match(a, test)
		return ok && err == nil
	})
}

type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// report returns false when something failed or was skipped without leave.
func report(r io.Reader, w io.Writer, allowed []string) bool {
	output := map[string][]string{}
	var skips, bad []string
	passed, failed := 0, 0
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		if len(line) > 0 && json.Unmarshal(line, &e) != nil {
			fmt.Fprint(w, string(line)) // the build's own words
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "output":
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				fmt.Fprintf(w, "%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
				if e.Action == "fail" {
					bad = append(bad, e.Package)
					fmt.Fprint(w, strings.Join(output[key], ""))
					// A process that breaks off ends no test: its last words are
					// those of the tests that were running.
					for _, test := range slices.Sorted(maps.Keys(output)) {
						if strings.HasPrefix(test, e.Package+" ") && test != key {
							fmt.Fprintf(w, "%s had not ended:\n%s", test, strings.Join(output[test], ""))
						}
					}
				}
				break
			}
			switch e.Action {
			case "pass":
				passed++
			case "fail":
				failed++
				bad = append(bad, key)
				fmt.Fprint(w, strings.Join(output[key], ""))
			case "skip":
				skips = append(skips, key+": "+reason(output[key]))
				if !isAllowed(allowed, key) {
					bad = append(bad, key+" was skipped and is not on the list of allowed skips")
				}
			}
			delete(output, key)
		}
		if err != nil {
			break
		}
	}
	slices.Sort(skips)
	for _, s := range skips {
		fmt.Fprintln(w, "skipped", s)
	}
	for _, b := range bad {
		fmt.Fprintln(w, "FAILED", b)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, len(skips))
	return len(bad) == 0 && passed > 0
}

// reason is what a test said before it was skipped.
func reason(lines []string) string {
	var words []string
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(l, "--- ") {
			words = append(words, l)
		}
	}
	return strings.Join(words, " ")
}
