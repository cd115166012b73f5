package tlsdec

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"clipper/bus"
)

// TestSecretsAnyOrder: the secrets of a connection in every order, with the records
// between them, give the same output: certificates and ALPN, too.
func TestSecretsAnyOrder(t *testing.T) {
	tr := traces(t)["TLS 1.3"]
	want := decode(t, tr).settled()
	if len(tr.secrets) != 4 {
		t.Fatalf("%d secrets", len(tr.secrets))
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 400 {
		order := rnd.Perm(len(tr.secrets))
		at := make([]int, len(order)) // the record before which each comes
		for i := range at {
			at[i] = rnd.IntN(len(tr.records) + 1)
		}
		slices.Sort(at)
		f, next := newFeeder(), 0
		for i := range len(tr.records) + 1 {
			for ; next < len(order) && at[next] == i; next++ {
				f.keys(tr.secrets[order[next]])
			}
			if i < len(tr.records) {
				f.tcp(tr.records[i])
			}
		}
		f.eos(bus.TCP, bus.UDP, bus.Keys)
		f.check(t)
		// The End lets a connection go on without the secrets of its handshake.
		if at[len(at)-1] < len(tr.records) && !slices.Equal(f.out.settled(), want) {
			t.Fatalf("secrets %v before records %v: output differs\n%s", order, at, firstDifference(f.out.settled(), want))
		}
		if f.out.wantPlain(t, tr); t.Failed() {
			t.Fatalf("secrets %v before records %v", order, at)
		}
	}
}

// TestTrafficSecretsOnly: a key log without the secrets of the handshake is read
// when those would have come, not only when it ends.
func TestTrafficSecretsOnly(t *testing.T) {
	tr := traces(t)["TLS 1.3"]
	var some []bus.TLSSecret
	for _, s := range tr.secrets {
		if l := parseLabel(s.Label); l == labelClientTraffic || l == labelServerTraffic {
			some = append(some, s)
		}
	}
	for _, before := range []bool{true, false} {
		rs := slices.Clone(tr.records)
		f := newFeeder()
		if before {
			f.keys(some...)
		}
		for i := range rs {
			rs[i].Time += int64(i) * 1e9 // slow enough to be looked at live
			if rs[i].Type == bus.End {
				continue
			}
			f.tcp(rs[i])
		}
		if !before {
			f.keys(some...)
		}
		f.out.wantPlain(t, tr)
		if len(f.out.verdicts) > 0 && before {
			t.Errorf("verdicts %+v", f.out.verdicts)
		}
	}
}

// settled are the lines of o without the preliminary verdicts, which are the
// only output that depends on when secrets come.
func (o *output) settled() []string {
	var out []string
	for i, l := range o.lines {
		if o.records[i].Type == bus.Opaque && bytes.Contains(o.records[i].Payload, []byte(`"preliminary":true`)) {
			continue
		}
		out = append(out, l)
	}
	return out
}

func traces(t testing.TB) map[string]*trace {
	m := map[string]*trace{}
	v12 := func() *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	}
	cbc := func() *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}
	}
	m["TLS 1.3"] = goTrace(t, talk{client: &tls.Config{NextProtos: []string{"h2"}}, server: &tls.Config{NextProtos: []string{"h2"}}, up: text(500, 1), down: text(40000, 2)})
	m["TLS 1.2"] = goTrace(t, talk{client: v12(), server: v12(), up: text(500, 3), down: text(20000, 4)})
	m["TLS 1.0"] = goTrace(t, talk{client: cbc(), server: cbc(), up: text(500, 5), down: text(20000, 6)})
	return m
}

// withQUIC adds flows of QUIC.
func withQUIC(t testing.TB, m map[string]*trace) map[string]*trace {
	for _, name := range []string{"one stream", "connections", "losses"} {
		m["QUIC, "+name] = quicTrace(t, quicTalks()[name])
	}
	return m
}

// TestSecretsAnyTime: secrets at every position of the input give the same output.
func TestSecretsAnyTime(t *testing.T) {
	for name, tr := range withQUIC(t, traces(t)) {
		t.Run(name, func(t *testing.T) {
			want := decode(t, tr).settled()
			for at := 0; at <= len(tr.records); at++ {
				f := newFeeder()
				f.tcp(tr.records[:at]...)
				f.keys(tr.secrets...)
				f.tcp(tr.records[at:]...)
				f.eos(bus.TCP, bus.UDP, bus.Keys)
				f.check(t)
				if got := f.out.settled(); !slices.Equal(got, want) {
					t.Fatalf("secrets after record %d: output differs\n%s", at, firstDifference(got, want))
				}
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				f := newFeeder()
				ks, rs := tr.secrets, tr.records
				keysEnded := false
				for len(rs) > 0 || len(ks) > 0 {
					switch {
					case len(rs) == 0 || len(ks) > 0 && rnd.IntN(len(rs)+len(ks)) < len(ks):
						f.keys(ks[0])
						ks = ks[1:]
					default:
						f.tcp(rs[0])
						rs = rs[1:]
					}
					if len(ks) == 0 && !keysEnded && rnd.IntN(4) == 0 {
						keysEnded = true
						f.eos(bus.Keys)
					}
				}
				f.eos(bus.TCP, bus.UDP, bus.Keys)
				f.check(t)
				if got := f.out.settled(); !slices.Equal(got, want) {
					t.Fatalf("random order: output differs\n%s", firstDifference(got, want))
				}
			}
		})
	}
}

func firstDifference(got, want []string) string {
	cut := func(s []string, i int) string {
		if i >= len(s) {
			return "(end)"
		}
		return s[i][:min(len(s[i]), 300)]
	}
	for i := 0; ; i++ {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i, cut(got, i), cut(want, i))
		}
	}
}

// TestMissingSecrets: every subset of the secrets gives no wrong byte, the same
// output in any order, and a verdict unless all was read.
func TestMissingSecrets(t *testing.T) {
	for name, tr := range traces(t) {
		t.Run(name, func(t *testing.T) {
			for set := range 1 << len(tr.secrets) {
				var some []bus.TLSSecret
				for i := range tr.secrets {
					if set>>i&1 != 0 {
						some = append(some, tr.secrets[i])
					}
				}
				o := decode(t, &trace{records: tr.records, secrets: some})
				all := true
				for d := range o.plain {
					if !bytes.HasPrefix(tr.sent[d], o.plain[d]) {
						t.Errorf("secrets %b: wrong plaintext", set)
					}
					all = all && len(tr.sent[d]) == len(o.plain[d])
				}
				if !all && len(o.verdicts) == 0 {
					t.Errorf("secrets %b: no verdict", set)
				}
				if all && len(o.verdicts) > 0 {
					t.Errorf("secrets %b: verdict %+v", set, o.verdicts)
				}
				if !o.ended || !o.fin[0] || !o.fin[1] {
					t.Errorf("secrets %b: not ended", set)
				}
				late := newFeeder()
				late.tcp(tr.records...)
				late.keys(some...)
				late.eos(bus.Keys, bus.TCP, bus.UDP)
				late.check(t)
				for d := range o.plain {
					if !bytes.Equal(late.out.plain[d], o.plain[d]) {
						t.Errorf("secrets %b: late ones give other plaintext", set)
					}
				}
			}
		})
	}
}

// TestWrongSecrets: wrong ones before and after the right ones change nothing.
func TestWrongSecrets(t *testing.T) {
	for name, tr := range traces(t) {
		t.Run(name, func(t *testing.T) {
			want := decode(t, tr).settled()
			wrong := slices.Clone(tr.secrets)
			for i := range wrong {
				wrong[i].Secret = bytes.Clone(wrong[i].Secret)
				wrong[i].Secret[3] ^= 1
			}
			for _, at := range []int{0, 5, len(tr.records)} {
				for _, ks := range [][]bus.TLSSecret{slices.Concat(wrong, tr.secrets), slices.Concat(tr.secrets, wrong)} {
					f := newFeeder()
					f.tcp(tr.records[:at]...)
					f.keys(ks...)
					f.tcp(tr.records[at:]...)
					f.eos(bus.TCP, bus.UDP, bus.Keys)
					f.check(t)
					if got := f.out.settled(); !slices.Equal(got, want) {
						t.Fatalf("at %d: output differs\n%s", at, firstDifference(got, want))
					}
				}
			}
			o := decode(t, &trace{records: tr.records, secrets: wrong})
			if len(o.plain[0])+len(o.plain[1]) > 0 || len(o.verdicts) != 1 || o.verdicts[0].Code != bus.VerdictDamaged {
				t.Errorf("only wrong ones: %d bytes, %+v", len(o.plain[0])+len(o.plain[1]), o.verdicts)
			}
		})
	}
}

// rechunk cuts Data records into pieces of the sizes that next gives.
func rechunk(rs []bus.Record, next func() int) (out []bus.Record) {
	for _, r := range rs {
		if r.Type != bus.Data || r.Layer == bus.UDP { // datagrams are whole
			out = append(out, r)
			continue
		}
		for len(r.Payload) > 0 {
			n := min(next(), len(r.Payload))
			piece := r
			piece.Payload = r.Payload[:n]
			out = append(out, piece)
			r.Payload, r.Offset = r.Payload[n:], r.Offset+uint64(n)
		}
	}
	return out
}

// joined puts neighbouring Data records of a direction together.
func joined(rs []bus.Record) (out []bus.Record) {
	for _, r := range rs {
		if n := len(out); n > 0 && r.Type == bus.Data && r.Layer == bus.TCP && out[n-1].Type == bus.Data && out[n-1].Dir == r.Dir {
			out[n-1].Payload = slices.Concat(out[n-1].Payload, r.Payload)
			out[n-1].Time = r.Time
			continue
		}
		out = append(out, r)
	}
	return out
}

func TestAnyChunking(t *testing.T) {
	for name, tr := range traces(t) {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, 4))
			for i, rs := range [][]bus.Record{
				joined(tr.records),
				rechunk(tr.records, func() int { return 1 }),
				rechunk(tr.records, func() int { return 5 }),
				rechunk(tr.records, func() int { return 1 + rnd.IntN(40) }),
				rechunk(tr.records, func() int { return 1 + rnd.IntN(20000) }),
				rechunk(joined(tr.records), func() int { return 1460 }),
			} {
				o := decode(t, &trace{records: rs, secrets: tr.secrets})
				o.wantPlain(t, tr)
				if len(o.verdicts) > 0 || o.info.Finished == 0 {
					t.Errorf("chunking %d: %+v", i, o.verdicts)
				}
			}
		})
	}
}

// TestEveryPrefix: a connection that is cut anywhere gives a prefix of its plaintext.
func TestEveryPrefix(t *testing.T) {
	for name, tr := range traces(t) {
		t.Run(name, func(t *testing.T) {
			rs := rechunk(tr.records, func() int { return 97 })
			for n := range rs {
				cut := rs[:n]
				if n == 0 {
					continue
				}
				o := decode(t, &trace{records: cut, secrets: tr.secrets})
				for d := range o.plain {
					if !bytes.HasPrefix(tr.sent[d], o.plain[d]) {
						t.Fatalf("cut at %d: wrong plaintext", n)
					}
				}
				if !o.ended {
					t.Fatalf("cut at %d: no End", n)
				}
			}
		})
	}
}

// TestBitFlips: a flipped bit never gives wrong plaintext.
func TestBitFlips(t *testing.T) {
	for name, tr := range traces(t) {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, 6))
			for range 1500 {
				rs := slices.Clone(tr.records)
				var data []int
				for i := range rs {
					if rs[i].Type == bus.Data {
						data = append(data, i)
					}
				}
				i := data[rnd.IntN(len(data))]
				rs[i].Payload = bytes.Clone(rs[i].Payload)
				at := rnd.IntN(len(rs[i].Payload))
				if rnd.IntN(2) == 0 {
					at = rnd.IntN(min(len(rs[i].Payload), 100))
				}
				rs[i].Payload[at] ^= 1 << rnd.IntN(8)
				o := decode(t, &trace{records: rs, secrets: tr.secrets})
				for d := range o.plain {
					if o.info == nil { // not taken for TLS any more: passes through
						continue
					}
					if !bytes.HasPrefix(tr.sent[d], o.plain[d]) {
						t.Fatalf("record %d byte %d: wrong plaintext in direction %d: %v", i, at, d, o.verdicts)
					}
				}
			}
		})
	}
}

// TestReplay: a decoder that was killed at any point and is fed again from Low, all
// secrets first, goes on with exactly the output that the killed one would have given.
func TestReplay(t *testing.T) {
	var rs []bus.Record
	var ks []bus.TLSSecret
	var each [][]bus.Record
	id := bus.ConnID(1)
	for _, name := range []string{"TLS 1.3", "TLS 1.2", "TLS 1.0", "TLS 1.3"} {
		tr := traces(t)[name]
		own := slices.Clone(tr.records)
		for i := range own {
			own[i].Conn = id
		}
		id++
		each = append(each, own)
		if id != 3 { // one stays without secrets
			ks = append(ks, tr.secrets...)
		}
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	for left := true; left; {
		left = false
		i := rnd.IntN(len(each))
		if len(each[i]) > 0 {
			rs = append(rs, each[i][0])
			each[i] = each[i][1:]
		}
		for _, e := range each {
			left = left || len(e) > 0
		}
	}
	for i := range rs {
		rs[i].Pos = uint64(i + 1)
	}
	// The order of the first run: true is a secret.
	var order []bool
	for i, j := 0, 0; i < len(rs) || j < len(ks); {
		if i == len(rs) || j < len(ks) && rnd.IntN(len(rs)+len(ks)) < 2*len(ks) {
			order = append(order, true)
			j++
		} else {
			order = append(order, false)
			i++
		}
	}
	for kill := range len(order) + 1 {
		f, g := newFeeder(), newFeeder()
		i, j := 0, 0
		step := func(f *feeder, secret bool) {
			if secret {
				f.keys(ks[j])
			} else {
				f.tcp(rs[i])
			}
		}
		for _, secret := range order[:kill] {
			step(f, secret)
			if secret {
				j++
			} else {
				i++
			}
		}
		low := f.d.Low()
		g.keys(ks[:j]...)
		for k := range rs[:i] {
			if rs[k].Pos >= low {
				g.tcp(rs[k])
			}
		}
		before, muted := len(f.out.lines), len(g.out.lines)
		for _, secret := range order[kill:] {
			step(f, secret)
			step(g, secret)
			if secret {
				j++
			} else {
				i++
			}
		}
		f.eos(bus.TCP, bus.UDP, bus.Keys)
		g.eos(bus.TCP, bus.UDP, bus.Keys)
		if got, want := g.out.lines[muted:], f.out.lines[before:]; !slices.Equal(got, want) {
			t.Fatalf("killed after %d of %d: output differs\n%s", kill, len(order), firstDifference(got, want))
		}
	}
}
