package sink

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
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
			s, err := New(Options{JSON: file, HAR: filepath.Join(dir, "out.har"), Dir: dir})
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

// TestUnknownProcess: an exchange is not held back for ever.
func TestUnknownProcess(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out.json")
	s, err := New(Options{JSON: file, Dir: dir})
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
