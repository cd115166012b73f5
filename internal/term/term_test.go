package term

import (
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		line Line
		want string
	}{
		{Line{Status: 200, Method: "GET", URL: "https://a/b", Size: 1234, Duration: 34 * time.Millisecond, Process: "curl[7]"},
			"200 GET    https://a/b  1.2 kB  34 ms  curl[7]\n"},
		{Line{Status: 200, Method: "POST", URL: "https://a/graphql", Content: "query Us\x1b"},
			"200 POST   https://a/graphql (query Us\uFFFD)  0 B  0 µs\n"},
		{Line{Method: "POST", URL: "http://a/", Failure: "reset by the server"},
			"--- POST   http://a/  0 B  0 µs  reset by the server\n"},
		{Line{Status: 404, Method: "GET", URL: "http://a/\x1b[2J\r", Duration: 2500 * time.Millisecond},
			"404 GET    http://a/\uFFFD[2J\uFFFD  0 B  2.5 s\n"},
	} {
		var out strings.Builder
		(&Terminal{w: &out}).Exchange(c.line)
		if out.String() != c.want {
			t.Errorf("got  %q\nwant %q", out.String(), c.want)
		}
	}
}

func TestLongURLIsCut(t *testing.T) {
	var out strings.Builder
	(&Terminal{w: &out}).Exchange(Line{Status: 200, Method: "GET", URL: "https://a/" + strings.Repeat("ä", 1000)})
	if n := strings.Count(out.String(), "ä"); n != maxURL-len("https://a/")-1 || !strings.Contains(out.String(), "…") {
		t.Errorf("%d of 1000 characters were printed: %q", n, out.String())
	}
}

func TestQuiet(t *testing.T) {
	var out strings.Builder
	q := &Terminal{w: &out, quiet: true}
	q.Exchange(Line{Status: 200})
	q.Verdict("a", "b", "c", "d", "e")
	q.Note("f")
	if out.Len() != 0 {
		t.Errorf("quiet printed %q", out.String())
	}
	q.Say("no space left")
	if out.String() != "clipper: no space left\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestStatusStaysBelow(t *testing.T) {
	var out strings.Builder
	term := &Terminal{w: &out, width: func() int { return 8 }}
	term.Status("reading 42 %")
	term.Say("a line")
	term.Status("")
	term.Say("the end")
	if want := "\r\x1b[Kreading\r\x1b[Kclipper: a line\nreading\r\x1b[Kclipper: the end\n"; out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
}

func TestSizeAndDuration(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 23_400_000: "23.4 MB", 1 << 63: "9223.4 PB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{340 * time.Microsecond: "340 µs", 12 * time.Millisecond: "12 ms", 3400 * time.Millisecond: "3.4 s", 90 * time.Second: "1m30s"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}
