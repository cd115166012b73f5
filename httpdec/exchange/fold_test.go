package exchange

import (
	"fmt"
	"net/netip"
	"testing"

	"clipper/bus"
	"clipper/bus/explain"
)

const ms = 1_000_000

func flow(port uint16) bus.Flow {
	return bus.Flow{Transport: "tcp", Client: netip.AddrPortFrom(netip.MustParseAddr("10.0.2.100"), port), Server: netip.MustParseAddrPort("192.0.2.1:443")}
}

func collect(t *testing.T) (*Fold, *[]*Exchange, *[]*Verdict) {
	var x []*Exchange
	var v []*Verdict
	return New(Handler{Exchange: func(e *Exchange) { x = append(x, e) }, Verdict: func(e *Verdict) { v = append(v, e) }}), &x, &v
}

func feed(f *Fold, events ...bus.Event) {
	for i := range events {
		e := events[i]
		e.Conn = max(e.Conn, 1)
		f.Event(&e)
	}
}

func TestTimings(t *testing.T) {
	f, got, _ := collect(t)
	feed(f,
		bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: flow(1), Opened: 100 * ms, Established: 110 * ms,
			TLS: &bus.TLSInfo{Started: 111 * ms, Finished: 130 * ms}}},
		bus.Event{Type: bus.EventRequest, Time: 135 * ms, Stream: 1, Request: &bus.Request{Method: "POST"}},
		bus.Event{Type: bus.EventEnd, Time: 140 * ms, Stream: 1, End: &bus.MessageEnd{Wire: 3, Decoded: 4}},
		bus.Event{Type: bus.EventResponse, Time: 170 * ms, Stream: 1, Dir: 1, Response: &bus.Response{Status: 200}},
		bus.Event{Type: bus.EventRequest, Time: 171 * ms, Stream: 2, Request: &bus.Request{Method: "GET"}},
		bus.Event{Type: bus.EventResponse, Time: 172 * ms, Stream: 2, Dir: 1, Response: &bus.Response{Status: 413}},
		bus.Event{Type: bus.EventEnd, Time: 173 * ms, Stream: 2, Dir: 1},
		bus.Event{Type: bus.EventEnd, Time: 180 * ms, Stream: 1, Dir: 1, End: &bus.MessageEnd{Wire: 5}},
		bus.Event{Type: bus.EventEnd, Time: 190 * ms, Stream: 2}, // an early response
	)
	if len(*got) != 2 {
		t.Fatalf("%d exchanges", len(*got))
	}
	for i, want := range []Timings{
		{Blocked: 5 * ms, DNS: -1, Connect: 10 * ms, TLS: 20 * ms, Send: 5 * ms, Wait: 30 * ms, Receive: 10 * ms},
		{Blocked: -1, DNS: -1, Connect: -1, TLS: -1, Send: 1 * ms, Wait: 0, Receive: 18 * ms},
	} {
		x := (*got)[i]
		if x.Timings() != want {
			t.Errorf("exchange %d: %+v, want %+v", i, x.Timings(), want)
		}
		sum := int64(0)
		for _, v := range []int64{want.Blocked, want.Connect, want.TLS, want.Send, want.Wait, want.Receive} {
			sum += max(0, v)
		}
		if sum != x.Ended()-x.Started() {
			t.Errorf("exchange %d: the phases take %d, the whole %d", i, sum, x.Ended()-x.Started())
		}
	}
	if x := (*got)[0]; x.Wire != [2]uint64{3, 5} || x.Decoded[0] != 4 {
		t.Errorf("sizes %v %v", x.Wire, x.Decoded)
	}
}

func TestLookup(t *testing.T) {
	f, got, _ := collect(t)
	feed(f,
		bus.Event{Type: bus.EventDNS, Conn: 9, Time: 90 * ms, DNS: &bus.DNS{Name: "a.test", Type: "A", Asked: 60 * ms, Answered: 90 * ms,
			Addresses: []netip.Addr{flow(1).Server.Addr()}}},
		bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: flow(1), Opened: 100 * ms, Established: 110 * ms}},
		bus.Event{Type: bus.EventRequest, Time: 135 * ms, Stream: 1, Request: &bus.Request{}},
		bus.Event{Type: bus.EventFailed, Time: 140 * ms, Stream: 1, Failure: &bus.Failure{Code: "x"}},
		bus.Event{Type: bus.EventRequest, Time: 150 * ms, Stream: 2, Request: &bus.Request{}},
		bus.Event{Type: bus.EventFailed, Time: 160 * ms, Stream: 2, Failure: &bus.Failure{Code: "x"}},
	)
	for i, want := range []Timings{
		{Blocked: 35 * ms, DNS: 30 * ms, Connect: 10 * ms, TLS: -1, Send: 5 * ms},
		{Blocked: -1, DNS: -1, Connect: -1, TLS: -1, Send: 10 * ms},
	} {
		if x := (*got)[i]; x.Timings() != want || x.Lookup == nil || x.Lookup.Name != "a.test" {
			t.Errorf("exchange %d: %+v, want %+v; look-up %+v", i, x.Timings(), want, x.Lookup)
		}
	}
}

func TestProcess(t *testing.T) {
	f, got, _ := collect(t)
	f.Proc(&bus.ProcEvent{Type: bus.ProcExec, PID: 7, Exe: "/bin/a", Argv: []string{"a", "-b"}})
	f.Proc(&bus.ProcEvent{Type: bus.ProcExec, PID: 8, Exe: "/bin/server", Argv: []string{"server"}})
	f.Proc(&bus.ProcEvent{Type: bus.ProcSocket, PID: 7, Transport: "tcp", Local: netip.MustParseAddrPort("[::ffff:10.0.2.100]:1"), Remote: flow(1).Server})
	f.Proc(&bus.ProcEvent{Type: bus.ProcSocket, PID: 8, Transport: "tcp", Local: flow(3).Server, Remote: flow(3).Client})
	for i, want := range []int{7, 9, 8, 0} {
		c := &bus.Connection{Flow: flow(uint16(i + 1))}
		if i == 1 {
			c.TLS = &bus.TLSInfo{PID: 9, Executable: "/bin/c"}
		}
		feed(f, bus.Event{Conn: bus.ConnID(i + 1), Type: bus.EventConnection, Connection: c},
			bus.Event{Conn: bus.ConnID(i + 1), Stream: 1, Time: 1, Type: bus.EventRequest, Request: &bus.Request{}},
			bus.Event{Conn: bus.ConnID(i + 1), Stream: 1, Time: 2, Type: bus.EventFailed, Failure: &bus.Failure{Code: "x"}})
		if p := (*got)[i].Process; p.PID != want {
			t.Errorf("connection %d: process %+v, want %d", i+1, p, want)
		}
	}
	if p := (*got)[0].Process; p.Exe != "/bin/a" || len(p.Argv) != 2 {
		t.Errorf("process %+v", p)
	}
	if p := (*got)[1].Process; p.Exe != "/bin/c" {
		t.Errorf("process without exec event: %+v", p)
	}
}

func TestUnfinishedAndVerdicts(t *testing.T) {
	f, got, verdicts := collect(t)
	feed(f, bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: flow(1)}},
		bus.Event{Type: bus.EventVerdict, Verdict: &bus.Verdict{Code: bus.VerdictNotHTTP}},
		bus.Event{Conn: 2, Type: bus.EventConnection, Connection: &bus.Connection{Flow: flow(2)}},
		bus.Event{Conn: 2, Type: bus.EventClosed, Closed: &bus.ConnEnd{Reason: bus.EndRefused}},
		bus.Event{Conn: 3, Type: bus.EventClosed, Closed: &bus.ConnEnd{Reason: bus.EndRefused}}, // closed before this sink began
		bus.Event{Type: bus.EventEnd, Stream: 9, Time: 1},                                       // of an exchange that is not known
		bus.Event{Type: bus.EventRequest, Stream: 2, Time: 1, Request: &bus.Request{}},
		bus.Event{Type: bus.EventResponse, Stream: 1, Time: 1, Response: &bus.Response{}})
	if len(*got) != 0 || len(*verdicts) != 2 || (*verdicts)[1].Verdict.Code != Refused {
		t.Errorf("%d exchanges, verdicts %+v", len(*got), *verdicts)
	}
	f.Close()
	if len(*got) != 2 || (*got)[0].Finished() || (*got)[0].Stream != 1 {
		t.Errorf("after Close: %+v", *got)
	}
	f.Close()
	if len(*got) != 2 {
		t.Error("a second Close hands them out again")
	}
}

// TestBounds opens more exchanges than are kept.
func TestBounds(t *testing.T) {
	n := 0
	f := New(Handler{Exchange: func(*Exchange) { n++ }})
	for i := range MaxOpen + 50 {
		f.Event(&bus.Event{Conn: bus.ConnID(i % 100), Type: bus.EventRequest, Stream: uint64(i + 1), Time: 1, Request: &bus.Request{}})
		f.Proc(&bus.ProcEvent{Type: bus.ProcExec, PID: i, Exe: fmt.Sprint(i)})
	}
	if n != 50 || f.open != MaxOpen || len(f.procs.m) != MaxProcesses {
		t.Errorf("%d handed out, %d open, %d processes", n, f.open, len(f.procs.m))
	}
	for i := range 3 * MaxOpen {
		id := uint64(i + 1_000_000)
		f.Event(&bus.Event{Conn: 1, Type: bus.EventRequest, Stream: id, Time: 1, Request: &bus.Request{}})
		f.Event(&bus.Event{Conn: 1, Type: bus.EventFailed, Stream: id, Time: 1, Failure: &bus.Failure{}})
	}
	if len(f.order) > 3*MaxOpen {
		t.Errorf("%d entries to find the oldest", len(f.order))
	}
}

// TestExplain: a verdict for want of a secret names the program's library.
func TestExplain(t *testing.T) {
	f, _, _ := collect(t)
	f.Proc(&bus.ProcEvent{Type: bus.ProcHook, PID: 1, Exe: "/a", Library: "wolfssl", State: bus.HookImpossible, Reason: "Why.", Help: "Help."})
	f.Proc(&bus.ProcEvent{Type: bus.ProcHook, PID: 2, Exe: "/b", Library: "openssl", State: bus.HookPlaced})
	f.Proc(&bus.ProcEvent{Type: bus.ProcHook, PID: 3, Exe: "/old", Library: "wolfssl", State: bus.HookImpossible, Reason: "Why.", Help: "Help."})
	f.Proc(&bus.ProcEvent{Type: bus.ProcHook, PID: 4, Exe: "/c", State: bus.HookImpossible, Reason: "It is traced."})
	for _, c := range []struct {
		p            Process
		code         bus.VerdictCode
		reason, help string
	}{
		{Process{PID: 1, Exe: "/a"}, bus.VerdictNoSecret, "No. The program's TLS library is wolfssl. Why.", "Help."},
		{Process{PID: 1, Exe: "/a"}, bus.VerdictNotHTTP, "No.", "Old."},
		{Process{PID: 2, Exe: "/b"}, bus.VerdictNoSecret, "No. The program's openssl is read, so the connection is another library's, which was not found.", explain.HelpKeyLog},
		{Process{PID: 3, Exe: "/new"}, bus.VerdictNoSecret, "No. No TLS library that Clipper knows was found in the program.", explain.HelpKeyLog},
		{Process{PID: 4, Exe: "/c"}, bus.VerdictNoSecret, "No. It is traced.", explain.HelpKeyLog},
		{Process{}, bus.VerdictNoSecret, "No.", "Old."},
	} {
		v := &Verdict{Process: c.p, Verdict: bus.Verdict{Code: c.code, Reason: "No.", Help: "Old."}}
		if f.Explain(v); v.Verdict.Reason != c.reason || v.Verdict.Help != c.help {
			t.Errorf("%+v: %q, %q; want %q, %q", c.p, v.Verdict.Reason, v.Verdict.Help, c.reason, c.help)
		}
	}
}
