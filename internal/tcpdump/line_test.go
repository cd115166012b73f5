package tcpdump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"clipper/bus"
	"clipper/sandbox/pcapng"
)

// tail is what tcpdump says of the payload, which is no concern of a Line.
var tail = regexp.MustCompile(`(length \d+).*$`)

// TestAgainstTcpdump: TCP over every capture of the corpus reads as tcpdump
// prints it.
func TestAgainstTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	files, _ := filepath.Glob("../../../shared/corpus/*/http*/*.pcap*")
	more, _ := filepath.Glob("../../../shared/corpus/*/*.pcap*")
	if files = append(files, more...); len(files) == 0 {
		t.Skip("the corpus is not here")
	}
	lines := 0
	for _, file := range files {
		lines += compare(t, file)
	}
	if lines < 1000 {
		t.Errorf("only %d lines were compared", lines)
	}
}

// compare compares the lines on TCP over IP in a file's first packets.
func compare(t *testing.T, file string) (compared int) {
	const most = 2000
	out, err := exec.Command("tcpdump", "-nn", "-S", "-t", "-K", "-c", fmt.Sprint(most), "-r", file).Output()
	if err != nil {
		return 0 // of a format or link type that tcpdump doesn't take
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	theirs := bufio.NewScanner(bytes.NewReader(out))
	for theirs.Scan() {
		if l := theirs.Bytes(); len(l) == 0 || l[0] == ' ' || l[0] == '\t' {
			continue // the rest of what it says of a payload
		}
		var rec *bus.Record
		for rec == nil || rec.Layer != bus.Frames || rec.Type == bus.Dropped {
			if rec, err = r.Next(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Logf("%s: %v", file, err)
				}
				return compared
			}
		}
		want := tail.ReplaceAllString(theirs.Text(), "$1")
		if !plainTCP.MatchString(want) {
			continue
		}
		compared++
		if got := tail.ReplaceAllString(Line(uint16(rec.Type), rec.Payload, int(rec.Aux)), "$1"); got != want {
			t.Errorf("%s, frame %d:\n got %s\nwant %s", file, rec.Offset, got, want)
			return compared
		}
	}
	return compared
}

var plainTCP = regexp.MustCompile(`^IP6? \S+ > \S+: Flags \[[^\]]*\], .*length \d+$`)

func FuzzLine(f *testing.F) {
	f.Add(uint16(101), []byte("\x45\x00\x00\x28\x00\x01\x00\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x40\x00\x50\x00\x00\x00\x01\x00\x00\x00\x02\x50\x10\x01\x00\x00\x00\x00\x00"), 40)
	f.Fuzz(func(t *testing.T, linkType uint16, data []byte, length int) {
		if s := Line(linkType, data, length); s == "" || bytes.ContainsAny([]byte(s), "\n\x1b") {
			t.Errorf("%q", s)
		}
	})
}
