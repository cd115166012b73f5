package pcapng

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
)

const corpus = "../../../shared/corpus"

// captures lists the files of the corpus.
func captures(t testing.TB) []string {
	t.Helper()
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	var all []string
	filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(d.Name(), ".pcap") {
			all = append(all, path)
		}
		return err
	})
	if len(all) == 0 {
		t.Fatal("the corpus is empty")
	}
	return all
}

// facts is a file as `capinfos` sums it up.
type facts struct {
	frames, bytes uint64 // bytes before they were cut
	first, last   int64  // of the times; 0 without frames
}

func sumUp(path string) (s facts, err error) {
	in, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer in.Close()
	f, err := NewReader(in)
	if err != nil {
		return s, err
	}
	defer f.Close()
	for {
		r, err := f.Next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		if r.Layer != bus.Frames || r.Type == bus.Dropped {
			continue
		}
		if r.Offset != s.frames {
			return s, fmt.Errorf("frame %d has the index %d", s.frames, r.Offset)
		}
		if s.frames == 0 || r.Time < s.first {
			s.first = r.Time
		}
		s.last = max(s.last, r.Time)
		s.frames++
		s.bytes += uint64(r.Aux)
	}
}

// differences from Wireshark, with the reason.
var differences = map[string]string{}

// Every file of the corpus has the number of packets, the bytes and the times
// that Wireshark finds in it.
func TestCorpusAsCapinfos(t *testing.T) {
	tool(t, "capinfos")
	files := captures(t)
	for i, want := range capinfos(t, files) {
		name, _ := filepath.Rel(corpus, files[i])
		got, err := sumUp(files[i])
		if reason, ok := differences[name]; ok {
			t.Logf("%s: %s", name, reason)
			if got == want {
				t.Errorf("%s does not differ", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got != want {
			t.Errorf("%s: got %+v, capinfos says %+v", name, got, want)
		}
	}
	t.Logf("%d files", len(files))
}

// capinfos asks the tool of that name for the facts of files.
func capinfos(t *testing.T, files []string) (all []facts) {
	t.Helper()
	// A table of: name, number of packets, sum of lengths, first and last time.
	out, _ := exec.Command("capinfos", append([]string{"-TMrm", "-c", "-d", "-a", "-e", "-S"}, files...)...).Output()
	for line := range strings.Lines(string(out)) {
		c := strings.Split(strings.TrimSpace(line), ",")
		var f facts
		fmt.Sscan(c[1], &f.frames)
		fmt.Sscan(c[2], &f.bytes)
		f.first, f.last = seconds(c[3]), seconds(c[4])
		all = append(all, f)
	}
	if len(all) != len(files) {
		t.Fatalf("capinfos tells of %d files of %d", len(all), len(files))
	}
	return all
}

// seconds reads "1533585360.505285" into ns; 0 for "n/a".
func seconds(s string) int64 {
	whole, fraction, _ := strings.Cut(s, ".")
	var a, b int64
	fmt.Sscan(whole, &a)
	fmt.Sscan(strings.TrimLeft((fraction + "000000000")[:9], "0"), &b)
	return a*1e9 + b
}

func tool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name + " is not installed")
	}
}
