package translate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
)

// FuzzEvents feeds lines as they stand on the bus: any bytes may be in them,
// and any order. Every event must encode, and what waits must end.
func FuzzEvents(f *testing.F) {
	files, _ := filepath.Glob("../../testdata/*.jsonl")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows := map[uint64]bool{}
		announced := map[string]bool{}
		tr := New(func(e Event) {
			b, err := json.Marshal(e.Params)
			if err != nil {
				t.Fatalf("%s: %v", e.Method, err)
			}
			if e.Exchange == 0 {
				t.Fatalf("%s has no row", e.Method)
			}
			if !rows[e.Exchange] {
				rows[e.Exchange] = true
				if e.Exchange != uint64(len(rows)) || (e.Method != "Network.requestWillBeSent" && e.Method != "Network.webSocketCreated") {
					t.Fatalf("row %d begins with %s", e.Exchange, e.Method)
				}
			}
			var r struct {
				Initiator struct {
					Stack struct{ CallFrames []struct{ ScriptID string } }
				}
			}
			_ = json.Unmarshal(b, &r)
			for _, c := range r.Initiator.Stack.CallFrames {
				if !announced[c.ScriptID] {
					t.Fatalf("script %q was not announced", c.ScriptID)
				}
			}
		}, func(p *Process) {
			if announced[p.ID()] {
				t.Fatalf("process %s twice", p.ID())
			}
			announced[p.ID()] = true
			_ = p.Source()
		})
		now := time.Unix(1000, 0)
		for line := range strings.SplitSeq(text, "\n") {
			var l struct {
				HTTP *bus.Event
				Proc *bus.ProcEvent
				Wait uint16
			}
			if json.Unmarshal([]byte(line), &l) != nil {
				continue
			}
			now = now.Add(time.Duration(l.Wait) * time.Millisecond)
			switch {
			case l.HTTP != nil:
				tr.HTTP(l.HTTP, now)
			case l.Proc != nil:
				tr.Proc(l.Proc, now)
			}
		}
		tr.Flush(now)
		if at, ok := tr.Deadline(); ok {
			t.Fatalf("still waiting, until %v", at)
		}
	})
}

// Every prefix of a session is a session, too.
func TestPrefixes(t *testing.T) {
	for _, name := range []string{"redirect-chain", "websocket", "failures", "odd"} {
		b, err := os.ReadFile("../../testdata/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		for n := range lines {
			tr := New(func(e Event) {
				if _, err := json.Marshal(e.Params); err != nil {
					t.Fatal(err)
				}
			}, func(*Process) {})
			for _, line := range lines[:n] {
				var l struct {
					HTTP *bus.Event
					Proc *bus.ProcEvent
				}
				if json.Unmarshal([]byte(line), &l) != nil {
					continue
				}
				if l.HTTP != nil {
					tr.HTTP(l.HTTP, time.Time{})
				} else if l.Proc != nil {
					tr.Proc(l.Proc, time.Time{})
				}
			}
			tr.Flush(time.Time{})
		}
	}
}
