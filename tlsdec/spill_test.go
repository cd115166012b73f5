package tlsdec

import (
	"bytes"
	"crypto/tls"
	"slices"
	"testing"

	"clipper/bus"
)

// logged is a feeder whose records stay in a log of messages.
type logged struct {
	*feeder
	log     [][]bus.Record // messages 1, 2, …
	trimmed uint64         // the last message that is gone
	reads   int            // records read again
	most    int            // bytes held at most
}

func newLogged(l Limits) *logged { return &logged{feeder: &feeder{d: NewWithLimits(l)}} }

func (f *logged) message(rs ...bus.Record) {
	f.log = append(f.log, rs)
	f.d.(bus.Rereader).Message(bus.TCP, uint64(len(f.log)))
	for _, r := range rs {
		f.tcp(r)
		f.most = max(f.most, f.d.(*decoder).held)
	}
}

// again does what the driver does after a record of side input.
func (f *logged) again() {
	s := f.d.(bus.Rereader)
	for l, seq, ok := s.Again(); ok; l, seq, ok = s.Again() {
		for ; seq <= uint64(len(f.log)); seq++ {
			if seq <= f.trimmed {
				continue
			}
			s.Message(l, seq)
			for i := range f.log[seq-1] {
				s.Reread(&f.log[seq-1][i], f.out.take)
				f.most = max(f.most, f.d.(*decoder).held)
				f.reads++
			}
		}
		s.Reread(&bus.Record{Layer: l, Type: bus.EOS}, f.out.take)
	}
}

func (f *logged) secrets(ks ...bus.TLSSecret) {
	for _, k := range ks {
		f.keys(k)
		f.again()
	}
}

// restart restores the state into a new stage with other limits.
func (f *logged) restart(t *testing.T, l Limits) {
	t.Helper()
	state := f.d.(bus.Snapshotter).AppendSnapshot(nil)
	f.d = NewWithLimits(l)
	if err := f.d.(bus.Snapshotter).Restore(state, uint64(len(f.log)+1)); err != nil {
		t.Fatal(err)
	}
}

// interleaved are the records of several connections in turn, in messages of three.
func interleaved(each [][]bus.Record) (messages [][]bus.Record) {
	for left := true; left; {
		left = false
		for i := range each {
			if len(each[i]) == 0 {
				continue
			}
			left = true
			if n := len(messages); n == 0 || len(messages[n-1]) == 3 {
				messages = append(messages, nil)
			}
			messages[len(messages)-1] = append(messages[len(messages)-1], each[i][0])
			each[i] = each[i][1:]
		}
	}
	return messages
}

// TestLateSecretsFromLog: what waits for a secret does not take memory, and is read again
// when the secret comes, however late.
func TestLateSecretsFromLog(t *testing.T) {
	all := traces(t)
	names := []string{"TLS 1.3", "TLS 1.2", "TLS 1.0", "TLS 1.3"}
	input := func() [][]bus.Record {
		var each [][]bus.Record
		for i, name := range names {
			each = append(each, renamed(rechunk(all[name].records, func() int { return 500 }), bus.ConnID(i+1)))
		}
		return interleaved(each)
	}()
	limits := Limits{Connection: 3000 + connectionCost, Total: 4 * (2500 + connectionCost)}
	const bound = 4*(3000+connectionCost) + 2*maxFragment
	check := func(t *testing.T, f *logged, read []bool) {
		t.Helper()
		f.out.problem = "" // offsets of several connections
		f.check(t)
		if f.most > bound {
			t.Errorf("%d bytes held", f.most)
		}
		for i, name := range names {
			o := f.out.only(bus.ConnID(i + 1))
			if !o.ended || !o.fin[0] || !o.fin[1] {
				t.Errorf("connection %d: not ended", i+1)
			}
			if read[i] {
				o.wantPlain(t, all[name])
				if len(o.verdicts) > 0 {
					t.Errorf("connection %d: %+v", i+1, o.verdicts)
				}
			} else if len(o.plain[1]) > 0 || len(o.verdicts) != 1 {
				t.Errorf("connection %d: %d bytes, %+v", i+1, len(o.plain[1]), o.verdicts)
			}
		}
	}
	for at := 0; at <= len(input); at += 11 {
		for _, restart := range []bool{false, true} {
			f := newLogged(limits)
			for i, m := range input {
				if i == at {
					f.secrets(all["TLS 1.2"].secrets...)
					f.secrets(all["TLS 1.3"].secrets...)
				}
				f.message(m...)
				if restart && i == at+5 {
					f.restart(t, limits)
					f.keys(all["TLS 1.2"].secrets...)
					f.keys(all["TLS 1.3"].secrets...)
				}
			}
			if restart {
				f.restart(t, limits)
			}
			if at == len(input) || restart {
				f.secrets(all["TLS 1.2"].secrets...)
				f.secrets(all["TLS 1.3"].secrets...)
			}
			f.secrets(all["TLS 1.0"].secrets...)
			f.eos(bus.Keys)
			f.again()
			f.eos(bus.TCP, bus.UDP)
			check(t, f, []bool{true, true, true, true})
			if at == len(input) && f.reads == 0 {
				t.Error("nothing was left in the log")
			}
		}
	}
	t.Run("no secret", func(t *testing.T) {
		f := newLogged(limits)
		for _, m := range input {
			f.message(m...)
		}
		f.eos(bus.Keys)
		f.again()
		f.eos(bus.TCP, bus.UDP)
		check(t, f, []bool{false, false, false, false})
	})
	t.Run("trimmed log", func(t *testing.T) {
		for trimmed := 1; trimmed <= len(input); trimmed += 13 {
			f := newLogged(limits)
			for _, m := range input {
				f.message(m...)
			}
			f.trimmed = uint64(trimmed)
			f.secrets(slices.Concat(all["TLS 1.3"].secrets, all["TLS 1.2"].secrets, all["TLS 1.0"].secrets)...)
			f.eos(bus.Keys)
			f.again()
			f.eos(bus.TCP, bus.UDP)
			f.out.problem = ""
			f.check(t)
			for i, name := range names {
				o := f.out.only(bus.ConnID(i + 1))
				if !o.ended || len(o.verdicts) == 0 && len(o.plain[1]) < len(all[name].sent[1]) {
					t.Errorf("trimmed to %d: connection %d: ended %v, %d bytes, %+v", trimmed, i+1, o.ended, len(o.plain[1]), o.verdicts)
				}
				for d := range o.plain {
					if n := len(o.plain[d]); n > len(all[name].sent[d]) || !slices.Equal(o.plain[d], all[name].sent[d][:n]) {
						t.Errorf("trimmed to %d: connection %d: wrong plaintext", trimmed, i+1)
					}
				}
			}
		}
	})
}

// TestIncompleteLimit: connections that got stuck in the middle of a record or a
// message take bounded memory, and the others of that time are read.
func TestIncompleteLimit(t *testing.T) {
	tr := goTrace(t, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(500, 1), down: text(3000, 2)})
	const limit, stuck = 1 << 20, 3000
	f := newLogged(Limits{Incomplete: limit})
	f.keys(tr.secrets...)
	d := f.d.(*decoder)
	// One is as old as any, but in the middle of nothing.
	n := 0
	for tr.records[n].Type != bus.Data || tr.records[n].Dir != bus.ServerToClient {
		n++
	}
	whole := renamed(tr.records, 1)
	f.message(whole[:n+1]...)
	most := 0
	for id := range stuck {
		cut := slices.Clone(tr.records[:n+1])
		// In the records of the handshake; in a message behind its key; at the first byte.
		switch last := &cut[n]; id % 3 {
		case 0:
			last.Payload = last.Payload[:len(last.Payload)-1]
		case 1:
			last.Payload = last.Payload[:len(last.Payload)/2]
		case 2:
			last.Payload = last.Payload[:1]
		}
		f.log = f.log[:0]
		f.message(renamed(cut, bus.ConnID(id+2))...)
		most = max(most, d.partly)
	}
	if most > limit+2*maxFragment || most < limit/2 {
		t.Errorf("%d bytes at most, the limit is %d", most, limit)
	}
	sum := 0
	for _, c := range d.conns {
		sum += c.incomplete()
	}
	if sum != d.partly {
		t.Errorf("%d bytes, %d were counted", sum, d.partly)
	}
	f.out = output{}
	f.message(whole[n+1:]...)
	for dir := range f.out.plain {
		if got := f.out.plain[dir]; !bytes.Equal(got, tr.sent[dir]) {
			t.Errorf("direction %d of the whole one: %d bytes, want %d", dir, len(got), len(tr.sent[dir]))
		}
	}
	f.eos(bus.TCP, bus.UDP, bus.Keys)
	if d.partly != 0 || d.lent != 0 || len(d.conns) != 0 {
		t.Errorf("at the end %d bytes, %d buffers, %d connections are left", d.partly, d.lent, len(d.conns))
	}
}

// TestEndlessInput: connections that never finish, and secrets that match nothing, take
// bounded memory.
func TestEndlessInput(t *testing.T) {
	tr := goTrace(t, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(500, 1), down: text(3000, 2)})
	hello := tr.records[:len(tr.records)-3]
	const total = 1 << 20
	f := newLogged(Limits{Total: total, Secrets: 100})
	f.out.lines = nil
	for id := range 3000 {
		f.log = f.log[:0]
		f.message(renamed(hello, bus.ConnID(id+1))...)
		f.keys(bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: text(32, byte(id)), Secret: text(48, byte(id>>8))})
		f.out = output{}
	}
	d := f.d.(*decoder)
	if f.most > total+connectionCost+2*maxFragment || len(d.secrets.byKey) > 100 || len(d.waiting.byKey) > total/connectionCost {
		t.Errorf("%d bytes held, %d secrets, %d connections wait", f.most, len(d.secrets.byKey), len(d.waiting.byKey))
	}
}
