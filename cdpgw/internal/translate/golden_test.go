package translate

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/fixture"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// play runs the steps of a fixture and returns what came out, a line each.
func play(t *testing.T, steps []fixture.Step) []string {
	t.Helper()
	var out []string
	emit := func(e Event) {
		b, err := json.Marshal(e.Params)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("row %d pid %d %s %s", e.Exchange, e.PID, e.Method, b))
	}
	tr := New(emit, func(p *Process) {
		b, _ := json.Marshal(p.Script())
		out = append(out, "process "+string(b)+"\n"+p.Source())
	})
	now := time.Unix(1000, 0)
	for _, s := range steps {
		if s.Wait > 0 {
			now = now.Add(s.Wait)
			tr.Expire(now)
			out = append(out, fmt.Sprintf("-- %v later", s.Wait))
			continue
		}
		switch e := s.Record.Event.(type) {
		case *bus.Event:
			tr.HTTP(e, now)
		case *bus.ProcEvent:
			tr.Proc(e, now)
		}
	}
	out = append(out, "-- end")
	tr.Flush(now)
	return out
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".jsonl"), func(t *testing.T) {
			steps, err := fixture.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			got := []byte(strings.Join(play(t, steps), "\n") + "\n")
			golden := strings.TrimSuffix(f, ".jsonl") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
				for i := range max(len(g), len(w)) {
					if i >= len(g) || i >= len(w) || g[i] != w[i] {
						t.Fatalf("line %d:\n got %s\nwant %s", i+1, at(g, i), at(w, i))
					}
				}
			}
		})
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(nothing)"
}
