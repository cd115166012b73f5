package sink

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
	"clipper/internal/expect"
	"clipper/internal/filter"
	"clipper/internal/redact"
	"clipper/internal/term"
)

// exchangeEvents are a GET with a body of the given size on a connection of its own.
func exchangeEvents(conn bus.ConnID, size uint64) []*bus.Record {
	flow := bus.Flow{Transport: "tcp", Client: netip.MustParseAddrPort("10.0.2.100:4000"), Server: netip.MustParseAddrPort("192.0.2.1:80")}
	var all []*bus.Record
	for i, e := range []*bus.Event{
		{Type: bus.EventConnection, Connection: &bus.Connection{Flow: flow, Opened: 1}},
		{Type: bus.EventRequest, Stream: 1, Request: &bus.Request{Method: "GET", URL: "http://192.0.2.1/", Proto: "http/1.1"}},
		{Type: bus.EventEnd, Stream: 1, Dir: bus.ClientToServer, End: &bus.MessageEnd{}},
		{Type: bus.EventResponse, Stream: 1, Response: &bus.Response{Status: 200, Proto: "http/1.1"}},
		{Type: bus.EventEnd, Stream: 1, Dir: bus.ServerToClient, End: &bus.MessageEnd{Wire: size, Decoded: size}},
	} {
		e.Conn, e.Time = conn, int64(1000*(i+1))
		all = append(all, &bus.Record{Layer: bus.HTTP, Type: bus.Line, Event: e})
	}
	return all
}

func procs() []*bus.Record {
	var all []*bus.Record
	for _, e := range []*bus.ProcEvent{
		{Type: bus.ProcExec, PID: 42, Exe: "/usr/bin/curl", Argv: []string{"curl", "http://192.0.2.1/"}},
		{Type: bus.ProcSocket, PID: 42, Transport: "tcp", Local: netip.MustParseAddrPort("10.0.2.100:4000"), Remote: netip.MustParseAddrPort("192.0.2.1:80")},
		{Type: bus.ProcEOS}, {Type: bus.ProcEOS},
	} {
		all = append(all, &bus.Record{Layer: bus.Proc, Type: bus.Line, Event: e})
	}
	return all
}

func body(conn bus.ConnID, offset uint64, text string) *bus.Record {
	return &bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: conn, Stream: 1, Dir: bus.ServerToClient, Offset: offset, Payload: []byte(text)}
}

// TestLateParts: the body and the name of the process come by other streams
// than the exchange, in any order.
func TestLateParts(t *testing.T) {
	parts := map[string][][]*bus.Record{
		"exchange first": {exchangeEvents(1, 5), {body(1, 0, "hel")}, procs(), {body(1, 3, "lo")}},
		"body first":     {{body(1, 0, "hello")}, exchangeEvents(1, 5), procs()},
		"process first":  {procs(), exchangeEvents(1, 5), {body(1, 0, "hello")}},
	}
	for name, order := range parts {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "out.json")
			s, err := New(Options{JSON: file, HAR: filepath.Join(dir, "out.har"), Live: true, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range order {
				for _, r := range part {
					if err := s.Process(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			got, _ := os.ReadFile(file) // complete before Close: the lines are live
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var e struct {
				PID      int    `json:"_pid"`
				Command  string `json:"_command"`
				Response struct{ Content struct{ Text string } }
			}
			if err := json.Unmarshal(got, &e); err != nil {
				t.Fatalf("%v in %q", err, got)
			}
			if e.PID != 42 || !strings.HasPrefix(e.Command, "curl") || e.Response.Content.Text != "hello" {
				t.Errorf("the entry has %+v", e)
			}
		})
	}
}

// TestExpressionsSeeBodies: they wait for them, with no file to make and none left over.
func TestExpressionsSeeBodies(t *testing.T) {
	f, err := filter.Compile("--filter", `response.body.contains("llo")`)
	if err != nil {
		t.Fatal(err)
	}
	e, err := expect.New([]string{`response.body != "hullo"`, `exchanges.exists(e, e.response.body == "hello")`})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var got []bus.ConnID
	s, err := New(Options{Live: true, Dir: dir, Filter: f, Expect: e, Decided: func(conn bus.ConnID, _ uint64, pass bool) {
		if pass {
			got = append(got, conn)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range procs() {
		s.Process(r)
	}
	for conn := range bus.ConnID(3) {
		for _, r := range exchangeEvents(conn+1, 5) {
			s.Process(r)
		}
	}
	if len(got) > 0 {
		t.Errorf("%v passed without their bodies", got)
	}
	for i, text := range []string{"other", "hello", "hallo"} {
		s.Process(body(bus.ConnID(i+1), 0, text))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if held := e.Finish(); !held || !slices.Equal(got, []bus.ConnID{2, 3}) {
		t.Errorf("%v passed, want 2 and 3; the rules hold: %v", got, held)
	}
}

// TestUnknownProcess: an exchange is not held back for ever.
func TestUnknownProcess(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out.json")
	s, err := New(Options{JSON: file, Live: true, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range exchangeEvents(1, 0) {
		s.Process(r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); strings.Count(string(b), "\n") != 1 {
		t.Errorf("the file has %q", b)
	}
}

func TestKeyLogHasEachLineOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	s, err := New(Options{KeyLog: file})
	if err != nil {
		t.Fatal(err)
	}
	secret := bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: []byte{1}, Secret: []byte{2}}, 0)
	s.Process(secret)
	s.Process(secret)
	s.Close()
	if b, _ := os.ReadFile(file); string(b) != "CLIENT_RANDOM 01 02\n" {
		t.Errorf("the file has %q", b)
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

func TestMissingDirectoryIsSaid(t *testing.T) {
	_, err := New(Options{HAR: filepath.Join(t.TempDir(), "no", "out.har"), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "--har") || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("New = %v", err)
	}
}

// TestModes: what holds credentials is for its owner alone.
func TestModes(t *testing.T) {
	for _, redacted := range []bool{false, true} {
		dir := t.TempDir()
		o := Options{HAR: filepath.Join(dir, "har"), JSON: filepath.Join(dir, "json"), KeyLog: filepath.Join(dir, "keys"), Packets: filepath.Join(dir, "packets"), Dir: dir}
		private := []string{o.HAR, o.JSON, o.KeyLog, o.Packets}
		if redacted {
			o.Redact, private = redact.New(), private[2:]
		}
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		for _, path := range private {
			if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, fi.Mode(), err)
			}
		}
	}
}

// TestFullDisk: the error names the option whose file cannot be written.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	s, err := New(Options{JSON: "/dev/full", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range exchangeEvents(1, 0) {
		s.Process(r)
	}
	if err := s.Close(); err == nil || !strings.HasPrefix(err.Error(), "--json: ") {
		t.Errorf("got %v", err)
	}
}

// TestOthersGoOn: an output that cannot be written any more is said once, and the
// others get everything.
func TestOthersGoOn(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	harFile, keys := filepath.Join(dir, "out.har"), filepath.Join(dir, "keys")
	var said []string
	s, err := New(Options{JSON: "/dev/full", HAR: harFile, KeyLog: keys, Dir: dir, Failed: func(err error) { said = append(said, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	for conn := range bus.ConnID(3) {
		for _, r := range append(exchangeEvents(conn+1, 5), body(conn+1, 0, "hello")) {
			if err := s.Process(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Process(bus.SecretRecord(&bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: []byte{1}, Secret: []byte{2}}, 0))
	if err := s.Close(); err != nil {
		t.Errorf("what was said is said again: %v", err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "--json: ") {
		t.Errorf("said %q", said)
	}
	b, _ := os.ReadFile(harFile)
	var h har.File
	if err := json.Unmarshal(b, &h); err != nil || len(h.Log.Entries) != 3 {
		t.Errorf("%v, the HAR has %s", err, b)
	}
	if b, _ := os.ReadFile(keys); len(b) == 0 {
		t.Error("the key log is empty")
	}
}

// TestOneWriter: two sessions do not write one file.
func TestOneWriter(t *testing.T) {
	o := Options{HAR: filepath.Join(t.TempDir(), "out.har"), Dir: t.TempDir()}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "by another clipper") {
		t.Errorf("the second: %v", err)
	}
	s.Close()
	again, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestIdle: when nothing can be written any more, more records are of no use.
func TestIdle(t *testing.T) {
	s, err := New(Options{JSON: "/dev/full", Dir: t.TempDir(), Terminal: term.New(os.Stderr, true)})
	if err != nil {
		t.Skip(err)
	}
	for _, r := range exchangeEvents(1, 0) {
		err = s.Process(r)
	}
	if err != ErrIdle {
		t.Errorf("Process = %v", err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close says nothing")
	}
}

// TestHARIntoAPipe: it is whole there, too.
func TestHARIntoAPipe(t *testing.T) {
	here, there, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	dir := t.TempDir()
	s, err := New(Options{HAR: fmt.Sprintf("/dev/fd/%d", there.Fd()), Dir: dir})
	there.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range append(exchangeEvents(1, 5), body(1, 0, "hello")) {
		s.Process(r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var h har.File
	if err := json.NewDecoder(here).Decode(&h); err != nil || len(h.Log.Entries) != 1 {
		t.Errorf("%v, %d entries", err, len(h.Log.Entries))
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A line says what its URL does not.
func TestContentOfALine(t *testing.T) {
	for want, c := range map[string]*bus.Content{
		"":              nil,
		"query GetUser": {Kind: "graphql", Operation: "GetUser", OperationType: "query"},
		"mutation":      {Kind: "graphql", OperationType: "mutation"},
		"1 part":        {Kind: "multipart", PartCount: 1},
		"12 parts":      {Kind: "multipart", PartCount: 12},
	} {
		x := &exchange.Exchange{Request: &bus.Request{Method: "POST"}, RequestEnd: &bus.MessageEnd{Content: c}}
		if got := line(x).Content; got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

// A failed call of gRPC has the HTTP status 200.
func TestLineOfGRPC(t *testing.T) {
	for _, c := range []struct {
		head, trailers []bus.Field
		want           string
	}{
		{nil, []bus.Field{{Name: "grpc-status", Value: "0"}}, ""},
		{nil, []bus.Field{{Name: "Grpc-Status", Value: "5"}, {Name: "grpc-message", Value: "no%20such order"}}, "gRPC NOT_FOUND: no such order"},
		{[]bus.Field{{Name: "grpc-status", Value: "16"}}, nil, "gRPC UNAUTHENTICATED"},
		{nil, []bus.Field{{Name: "grpc-status", Value: "99"}}, "gRPC 99"},
		{nil, nil, ""},
	} {
		x := &exchange.Exchange{Response: &bus.Response{Status: 200, Headers: append([]bus.Field{{Name: "content-type", Value: "application/grpc+proto"}}, c.head...)},
			ResponseEnd: &bus.MessageEnd{Trailers: c.trailers}, RequestEnded: 1, ResponseEnded: 1}
		if got := line(x).Failure; got != c.want {
			t.Errorf("%v %v: %q, want %q", c.head, c.trailers, got, c.want)
		}
	}
	if got := line(&exchange.Exchange{Response: &bus.Response{Headers: []bus.Field{{Name: "grpc-status", Value: "5"}}}, RequestEnded: 1, ResponseEnded: 1}).Failure; got != "" {
		t.Errorf("not gRPC: %q", got)
	}
}

// TestDecidedAgain: an exchange that comes again is decided again, so that whoever
// held its events lets go of them.
func TestDecidedAgain(t *testing.T) {
	var got []bool
	s, err := New(Options{Live: true, Decided: func(_ bus.ConnID, _ uint64, pass bool) { got = append(got, pass) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range procs() {
		s.Process(r)
	}
	for range 2 {
		for _, r := range exchangeEvents(1, 0) {
			s.Process(r)
		}
		s.Again()
	}
	s.Close()
	if len(got) != 2 || !got[0] || got[1] {
		t.Errorf("decided %v, want true and false", got)
	}
}

// TestFilterExpectRedact: the files have what the filter lets pass, without its
// credentials; rules see all of it.
func TestFilterExpectRedact(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out.json")
	f, err := filter.Compile("--filter", `path == "/" && process == "curl"`)
	if err != nil {
		t.Fatal(err)
	}
	e, err := expect.New([]string{`size(exchanges) == 2`, `request.headers["authorization"] == "Bearer geheim"`})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{JSON: file, Dir: dir, Filter: f, Expect: e, Redact: redact.New()})
	if err != nil {
		t.Fatal(err)
	}
	one, two := exchangeEvents(1, 16), exchangeEvents(2, 16)
	for _, r := range append(one, two...) {
		if q := r.Event.(*bus.Event).Request; q != nil {
			q.Headers = []bus.Field{{Name: "Authorization", Value: "Bearer geheim"}}
		}
	}
	two[1].Event.(*bus.Event).Request.URL = "http://192.0.2.1/other"
	for _, r := range append(append(procs(), body(1, 0, `{"token":"abcd"}`), body(2, 0, `{"token":"abcd"}`)), append(one, two...)...) {
		if err := s.Process(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	if text := string(b); strings.Count(text, "\n") != 1 || strings.Contains(text, "geheim") || strings.Contains(text, "abcd") || !strings.Contains(text, "Bearer redacted-") || !strings.Contains(text, `\"token\":\"redacted-`) {
		t.Errorf("the file has %s", text)
	}
	if !e.Finish() {
		var report strings.Builder
		e.Report(&report)
		t.Error(report.String())
	}
}

// TestPreliminaryVerdict: what was read after all leaves no trace of the doubt.
func TestPreliminaryVerdict(t *testing.T) {
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	file := filepath.Join(dir, "out.har")
	rules, err := expect.New([]string{"size(verdicts) == 1"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Dir: dir, HAR: file, Terminal: term.New(out, false), Expect: rules})
	if err != nil {
		t.Fatal(err)
	}
	doubt := func(conn bus.ConnID, preliminary bool) *bus.Record {
		return &bus.Record{Layer: bus.HTTP, Type: bus.Line, Event: &bus.Event{Type: bus.EventVerdict, Conn: conn,
			Verdict: &bus.Verdict{Code: bus.VerdictNoSecret, Reason: "no secret came", Preliminary: preliminary}}}
	}
	all := exchangeEvents(1, 0)
	all = append(all[:1:1], append([]*bus.Record{doubt(1, true)}, all[1:]...)...)
	for _, r := range append(all, doubt(2, true), doubt(2, false)) {
		s.Process(r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var h struct {
		Log struct {
			Verdicts []struct{ Connection string } `json:"_verdicts"`
		}
	}
	b, _ := os.ReadFile(file)
	if err := json.Unmarshal(b, &h); err != nil || len(h.Log.Verdicts) != 1 || h.Log.Verdicts[0].Connection != bus.ConnID(2).String() {
		t.Errorf("%v, the HAR has the verdicts %+v", err, h.Log.Verdicts)
	}
	if text, _ := os.ReadFile(out.Name()); strings.Count(string(text), "???") != 1 {
		t.Errorf("the terminal has\n%s", text)
	}
	if !rules.Finish() {
		t.Error("the rules saw another number of verdicts")
	}
}

func TestSummary(t *testing.T) {
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s, err := New(Options{Dir: dir, HAR: filepath.Join(dir, "out.har"), Terminal: term.New(out, false)})
	if err != nil {
		t.Fatal(err)
	}
	one, two := exchangeEvents(1, 5), exchangeEvents(2, 7)
	two[1].Event.(*bus.Event).Request.URL = "http://b.example/"
	two[3].Event.(*bus.Event).Response.Status = 503
	two[4].Event.(*bus.Event).Time = 2_000_000_000
	all := append(one, two...)
	all = append(all, &bus.Record{Layer: bus.HTTP, Type: bus.Line, Event: &bus.Event{Type: bus.EventVerdict, Conn: 3, Verdict: &bus.Verdict{Code: bus.VerdictNoSecret}}},
		&bus.Record{Layer: bus.Frames, Type: bus.Dropped, Aux: 3})
	for _, r := range all {
		s.Process(r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	out.Truncate(0)
	out.Seek(0, 0)
	s.Summary()
	text, _ := os.ReadFile(out.Name())
	got := strings.ReplaceAll(string(text), dir+"/", "")
	got = regexp.MustCompile(`\(\d.* kB\)`).ReplaceAllString(got, "(N kB)")
	want := `clipper: 2 exchanges with 2 hosts, 12 B received; 1 with status 5xx
clipper:   hosts    192.0.2.1 1, b.example 1
clipper:   slowest  2.0 s   GET http://b.example/ (503)
clipper:   unread   no-secret 1
clipper: 3 frames were lost; requests may be missing
clipper:   written  out.har (N kB)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestAgain: what is decoded once more is passed on once.
func TestAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out.json")
	s, err := New(Options{JSON: file, Dir: dir, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	feed := func(records ...*bus.Record) {
		for _, r := range records {
			if err := s.Process(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	feed(procs()...)
	two := exchangeEvents(2, 5)
	feed(exchangeEvents(1, 5)...)
	feed(body(1, 0, "hello"), two[0], two[1], body(2, 0, "hel")) // the second is still open
	s.Again()
	feed(exchangeEvents(1, 5)...)
	feed(body(1, 0, "hello"))
	feed(two...)
	feed(body(2, 0, "hel"), body(2, 3, "lo"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	if n := strings.Count(string(b), "\n"); n != 2 || strings.Count(string(b), `"text":"hello"`) != 2 {
		t.Errorf("%d lines:\n%s", n, b)
	}
}
