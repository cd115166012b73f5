package reassembler_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/reassembler"
)

// restored is a stage that has the state of s from its snapshot.
func restored(t *testing.T, s bus.Stage, pos uint64) bus.Stage {
	t.Helper()
	snapshot := s.(bus.Snapshotter).AppendSnapshot(nil)
	n := reassembler.New("test").(bus.Snapshotter)
	if err := n.Restore(snapshot, pos); err != nil {
		t.Fatal(err)
	}
	if again := n.AppendSnapshot(nil); !bytes.Equal(snapshot, again) {
		t.Fatalf("a restored stage has another snapshot:\n%x\n%x", snapshot, again)
	}
	if low := n.Low(); low != pos && low != bus.None {
		t.Fatalf("Low of a restored stage is %d, want %d or none", low, pos)
	}
	return n
}

// cutAnywhere gives the stage a successor before those frames that cut chooses,
// and compares what they give with what one stage gives.
func cutAnywhere(t *testing.T, frames []*bus.Record, cut func() bool) {
	t.Helper()
	want := run(frames)
	s := reassembler.New("test")
	for i, f := range frames {
		if cut() {
			s = restored(t, s, max(f.Pos, 1))
		}
		s.Process(f, func(r *bus.Record) {
			if t.Failed() {
				return
			}
			if len(want) == 0 || !equalRecords(r, want[0]) {
				t.Errorf("frame %d gives %s", i, describeRecord(r))
				if len(want) > 0 {
					t.Errorf("want %s", describeRecord(want[0]))
				}
				return
			}
			want = want[1:]
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	if len(want) > 0 {
		t.Fatalf("missing %s", describeRecord(want[0]))
	}
}

func always() bool { return true }

func TestSnapshotScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts in testdata", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source, _, _ := strings.Cut(string(text), "---\n")
		t.Run(filepath.Base(file), func(t *testing.T) { cutAnywhere(t, parseScript(t, source), always) })
	}
}

func TestSnapshotTraffic(t *testing.T) {
	for seed := range *seeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		cut := always
		if seed%2 == 1 {
			cut = func() bool { return rng.IntN(20) == 0 }
		}
		cutAnywhere(t, traffic(rng, 60), cut)
	}
}

func TestSnapshotCorpus(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	for _, name := range corpusCaptures(t) {
		frames := append(readCapture(t, filepath.Join(corpus, name)), &bus.Record{Layer: bus.Frames, Type: bus.EOS})
		t.Run(name, func(t *testing.T) {
			cutAnywhere(t, frames, func() bool { return len(frames) < 200 || rng.IntN(len(frames)/100) == 0 })
		})
	}
}

// snapshots are some of states that have something of everything.
func snapshots(t testing.TB) (all [][]byte) {
	s := reassembler.New("test").(bus.Snapshotter)
	for i, f := range traffic(rand.New(rand.NewPCG(2, 5)), 20) {
		s.Process(f, func(*bus.Record) {})
		if i%40 == 0 {
			all = append(all, s.AppendSnapshot(nil))
		}
	}
	return all
}

func TestSnapshotEveryPrefix(t *testing.T) {
	for _, b := range snapshots(t) {
		for n := range b {
			if err := reassembler.New("test").(bus.Snapshotter).Restore(b[:n:n], 1); err == nil {
				t.Fatalf("the first %d bytes of %d were taken", n, len(b))
			}
		}
	}
}

// FuzzRestore: no snapshot brings a stage to panic, not with frames after it
// either, and a stage that takes one gives the same again.
func FuzzRestore(f *testing.F) {
	frames := traffic(rand.New(rand.NewPCG(2, 5)), 20)
	for _, b := range snapshots(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := reassembler.New("test").(bus.Snapshotter)
		if s.Restore(b, 1) != nil {
			return
		}
		once := s.AppendSnapshot(nil)
		again := reassembler.New("test").(bus.Snapshotter)
		if err := again.Restore(once, 1); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once, again.AppendSnapshot(nil)) {
			t.Fatal("a restored stage has another snapshot")
		}
		for _, r := range frames {
			s.Process(r, func(*bus.Record) {})
		}
	})
}
