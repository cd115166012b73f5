package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"clipper/bus"
)

var update = flag.Bool("update", false, "rewrite testdata/events.txt")

// feed runs a conversation through the stage: lines "> TEXT" of the client and
// "< TEXT" of the server, with Go escapes. cut splits the bytes into records.
func feed(t testing.TB, cut int, conversation string) string {
	var out strings.Builder
	emit := func(r *bus.Record) {
		switch {
		case r.Event != nil:
			b, err := json.Marshal(r.Event)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s\n", b)
		case r.Type == bus.BodyBytes:
			fmt.Fprintf(&out, "body %d/%d: %q\n", r.Stream, r.Dir, r.Payload)
		}
	}
	s := newStage()
	open, _ := json.Marshal(bus.ConnOpen{Flow: bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort("10.0.2.100:40000"), Server: netip.MustParseAddrPort("127.0.0.1:6379")}})
	pos := uint64(1)
	process := func(r bus.Record) {
		r.Layer, r.Pos, r.Time = bus.Plain, pos, 1_000_000_000
		if r.Type != bus.EOS {
			r.Conn = 7
		}
		s.Process(&r, emit)
		pos++
	}
	process(bus.Record{Type: bus.Open, Payload: open})
	var offset [2]uint64
	for line := range strings.Lines(conversation) {
		var text string
		if _, err := fmt.Sscanf(line[2:], "%q", &text); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		dir := bus.ClientToServer
		if line[0] == '<' {
			dir = bus.ServerToClient
		}
		for len(text) > 0 {
			n := min(cut, len(text))
			process(bus.Record{Type: bus.Data, Dir: dir, Offset: offset[dir], Payload: []byte(text[:n])})
			offset[dir] += uint64(n)
			text = text[n:]
		}
	}
	if low := s.Low(); low != 1 {
		t.Errorf("Low is %d with an open connection that began at 1", low)
	}
	process(bus.Record{Type: bus.End, Payload: []byte(`{"reason":"fin"}`)})
	if low := s.Low(); low != bus.None {
		t.Errorf("Low is %d without a connection", low)
	}
	process(bus.Record{Type: bus.EOS})
	return out.String()
}

var conversations = []string{
	`> "*2\r\n$3\r\nget\r\n$4\r\nname\r\n"
< "$7\r\nclipper\r\n"
> "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
< "+PONG\r\n:42\r\n"
> "*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n*1\r\n$5\r\nWRONG\r\n"
< "*2\r\n$1\r\na\r\n$-1\r\n-ERR unknown command\r\n"
> "*1\r\n$4\r\nQUIT\r\n"
`,
	`> "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
< "HTTP/1.1 204 No Content\r\n\r\n"
`,
	`> "*2\r\n$-7\r\n"
`,
}

func TestEvents(t *testing.T) {
	const golden = "testdata/events.txt"
	got := ""
	for _, c := range conversations {
		whole := feed(t, 1<<20, c)
		got += whole + "\n"
		if !strings.Contains(c, "HTTP") { // whose events tell how the head came
			if bytewise := feed(t, 1, c); bytewise != whole {
				t.Errorf("in single bytes:\n%s\nat once:\n%s", bytewise, whole)
			}
		}
	}
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || got != string(want) {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}

func FuzzStage(f *testing.F) {
	f.Add("*1\r\n$4\r\nPING\r\n", "+PONG\r\n", 3)
	f.Add("*1\r\n*1\r\n*1\r\n", "*-1\r\n", 100)
	f.Fuzz(func(t *testing.T, client, server string, cut int) {
		if cut < 1 || client == "" && server == "" {
			t.Skip()
		}
		feed(t, cut, fmt.Sprintf("> %q\n< %q\n", "*"+client, server))
	})
}
