package httpdec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/bus"
)

// TestCorpusWebSocket compares the messages with the frames that tshark finds: the
// opcodes and, where tshark gives it, the length.
func TestCorpusWebSocket(t *testing.T) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skip("no captures at " + corpus)
	}
	program(t, "tshark")
	if testing.Short() {
		t.Skip("takes a while")
	}
	files, _ := filepath.Glob(filepath.Join(corpus, "zeek/websocket/*"))
	total := 0
	for _, file := range files {
		name := filepath.Base(file)
		var got []string
		s := New()
		emit := func(r *bus.Record) {
			if e, ok := r.Event.(*bus.Event); ok && e.Message != nil && e.Message.Kind == "websocket" {
				size := fmt.Sprint(e.Message.Size)
				if e.Message.Size > 125 { // tshark gives the 7 bits
					size = "long"
				}
				got = append(got, fmt.Sprint(e.Message.Opcode, " ", size))
			}
		}
		c := readCapture(t, file)
		for i := range c.records {
			s.Process(&c.records[i], emit)
		}
		s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
		out, err := exec.Command("tshark", "-n", "-r", file, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "websocket", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,",
			"-e", "websocket.fin", "-e", "websocket.opcode", "-e", "websocket.payload_length").Output()
		if err != nil {
			t.Skipf("tshark: %v", err)
		}
		var want []string
		opcode, size := "", 0
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			fin, op, length := strings.Split(f[0], ","), strings.Split(f[1], ","), strings.Split(f[2], ",")
			for i := range fin {
				n := 0
				fmt.Sscan(length[i], &n)
				if op[i] != "0" {
					opcode, size = op[i], 0
				}
				if size += n; n > 125 {
					size = 1 << 20
				}
				if fin[i] != "1" && fin[i] != "True" {
					continue
				}
				if size > 125 {
					want = append(want, opcode+" long")
				} else {
					want = append(want, fmt.Sprint(opcode, " ", size))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		total += len(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s", name, difference(got, want))
		}
	}
	t.Logf("%d captures, %d messages", len(files), total)
}
