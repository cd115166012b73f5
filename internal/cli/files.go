package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"clipper/internal/sink"
)

// namedFile is a file of the command line: what names it, and its path.
type namedFile struct{ by, path string }

// apart refuses to write one file twice, or over a file that is read. Only regular
// files are looked at: a terminal or /dev/null takes more than one output.
func apart(reads, writes []namedFile) error {
	for i, w := range writes {
		for _, other := range writes[:i] {
			if w.path == sink.Stdout && other.path == sink.Stdout {
				return usageError{fmt.Errorf("%s and %s cannot both go to standard output: give one of them a file", other.by, w.by)}
			}
		}
		for _, other := range append(reads[:len(reads):len(reads)], writes[:i]...) {
			if sameFile(w.path, other.path) {
				return usageError{fmt.Errorf("%s and %s are the same file, %s: give each a file of its own", other.by, w.by, w.path)}
			}
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	if a == "" || b == "" || a == "-" || b == "-" {
		return false
	}
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return fa.Mode().IsRegular() && os.SameFile(fa, fb)
	}
	pa, errA := filepath.Abs(a)
	pb, errB := filepath.Abs(b)
	return errA == nil && errB == nil && pa == pb
}
