package tlsdec

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"slices"
	"testing"

	"clipper/bus"
)

// lossy replaces some Data records by gaps.
func lossy(rs []bus.Record, lose func(i int) bool) (out []bus.Record, lost int) {
	rs = slices.Clone(rs)
	for i := range rs {
		if rs[i].Type == bus.Data && lose(i) {
			rs[i].Type, rs[i].Aux, rs[i].Payload = bus.Gap, uint32(len(rs[i].Payload)), nil
			lost++
		}
	}
	return rs, lost
}

// TestLoss: missing segments cost the records they touch, and nothing that is
// given is wrong or at a wrong place.
func TestLoss(t *testing.T) {
	config := func(version, suite uint16) *tls.Config {
		return &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: []uint16{suite}}
	}
	for name, c := range map[string]*tls.Config{
		"TLS 1.3":     config(tls.VersionTLS13, 0),
		"TLS 1.2 GCM": config(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
		"TLS 1.2 CBC": config(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA),
		"TLS 1.0 CBC": config(tls.VersionTLS10, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA),
	} {
		t.Run(name, func(t *testing.T) {
			tr := goTrace(t, talk{client: c, server: c.Clone(), up: text(60000, 1), down: text(300000, 2)})
			rs := rechunk(joined(tr.records), func() int { return 1460 })
			resumes := name != "TLS 1.0 CBC" // there the next record needs the one before
			rnd := rand.New(rand.NewPCG(9, 9))
			for round := range 60 {
				from := uint64(0)
				if round%2 == 0 {
					from = 10000 // behind the handshake
				}
				damaged, lost := lossy(rs, func(i int) bool { return rs[i].Offset >= from && rnd.IntN(60) == 0 })
				o := decode(t, &trace{records: damaged, secrets: tr.secrets})
				got := 0
				for _, r := range o.records {
					if r.Type != bus.Data {
						continue
					}
					sent := tr.sent[r.Dir]
					if r.Offset+uint64(len(r.Payload)) > uint64(len(sent)) || !bytes.Equal(sent[r.Offset:][:len(r.Payload)], r.Payload) {
						// How much was lost is not known exactly with CBC's padding, nor where
						// handshake messages were lost.
						if from > 0 && name != "TLS 1.2 CBC" || !bytes.Contains(sent, r.Payload) {
							t.Fatalf("round %d: wrong plaintext at %d of direction %d", round, r.Offset, r.Dir)
						}
					}
					got += len(r.Payload)
				}
				if want := len(tr.sent[0]) + len(tr.sent[1]) - lost*2*maxPlaintext; from > 0 && resumes && got < want {
					t.Errorf("round %d: %d bytes after %d losses, want at least %d: %+v", round, got, lost, want, o.verdicts)
				}
			}
		})
	}
}
