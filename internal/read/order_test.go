package read

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/bus"
	"clipper/reassembler"
	"clipper/sandbox/pcapng"
	"clipper/tlsdec"
)

// conversation is what two TLS peers sent, piece by piece.
type conversation struct {
	mu     sync.Mutex
	pieces []piece
	keys   bytes.Buffer
	plain  [2][]byte
}

type piece struct {
	dir  int
	data []byte
}

func (c *conversation) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.Write(b)
}

// spy is a peer's connection that notes what it sends.
type spy struct {
	net.Conn
	c   *conversation
	dir int
}

func (s spy) Write(b []byte) (int, error) {
	s.c.mu.Lock()
	s.c.pieces = append(s.c.pieces, piece{s.dir, bytes.Clone(b)})
	s.c.mu.Unlock()
	return s.Conn.Write(b)
}

func talk(t *testing.T, version uint16) *conversation {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c := new(conversation)
	for d := range c.plain {
		c.plain[d] = bytes.Repeat([]byte{byte('a' + d), '\n', byte(d), 'x', 'y'}, 4000)
	}
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := tls.Server(spy{b, c, 1}, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		io.ReadFull(s, make([]byte, len(c.plain[0])))
		s.Write(c.plain[1])
	}()
	x := tls.Client(spy{a, c, 0}, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, KeyLogWriter: c})
	x.Write(c.plain[0])
	if _, err := io.ReadFull(x, make([]byte, len(c.plain[1]))); err != nil {
		t.Fatal(err)
	}
	<-done
	return c
}

// segment is a frame (raw IPv4) of direction d.
func segment(d int, seq, ack uint32, flags byte, data []byte) *bus.Record {
	b := make([]byte, 40, 40+len(data))
	b[0], b[8], b[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(b[2:], uint16(40+len(data)))
	copy(b[12:], []byte{10, 0, 0, byte(1 + d), 10, 0, 0, byte(2 - d)})
	ports := [2]uint16{40000, 443}
	binary.BigEndian.PutUint16(b[20:], ports[d])
	binary.BigEndian.PutUint16(b[22:], ports[1-d])
	binary.BigEndian.PutUint32(b[24:], seq)
	binary.BigEndian.PutUint32(b[28:], ack)
	b[32], b[33], b[34] = 5<<4, flags, 0xff
	b = append(b, data...)
	return &bus.Record{Layer: bus.Frames, Type: 101, Flags: bus.CsumNotReady, Aux: uint32(len(b)), Payload: b}
}

const (
	fin = 1
	syn = 2
	ack = 16
)

// frames cuts what was said into segments of any size, some of which come twice.
func (c *conversation) frames(rng *rand.Rand) []*bus.Record {
	next := [2]uint32{rng.Uint32(), rng.Uint32()}
	frames := []*bus.Record{segment(0, next[0], 0, syn, nil), segment(1, next[1], next[0]+1, syn|ack, nil)}
	next[0]++
	next[1]++
	for _, p := range c.pieces {
		for b := p.data; len(b) > 0; {
			n := min(1+rng.IntN(1460), len(b))
			s := segment(p.dir, next[p.dir], next[1-p.dir], ack, b[:n])
			frames = append(frames, s)
			if rng.IntN(5) == 0 {
				frames = append(frames, s)
			}
			next[p.dir] += uint32(n)
			b = b[n:]
		}
	}
	for d := range next {
		frames = append(frames, segment(d, next[d], next[1-d], fin|ack, nil))
	}
	return frames
}

// TestAnyOrderOfFramesAndSecrets: however frames are cut, repeated and reordered, and
// whenever the secrets come, the plaintext is the same.
func TestAnyOrderOfFramesAndSecrets(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := talk(t, version)
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, uint64(version)))
			frames := c.frames(rng)
			rest := frames[1:]
			switch seed % 3 {
			case 1:
				rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			case 2: // each a little
				for i := range rest {
					j := min(i+rng.IntN(6), len(rest)-1)
					rest[i], rest[j] = rest[j], rest[i]
				}
			}
			var secrets []*bus.Record
			err := pcapng.ReadKeyLog(strings.NewReader(c.keys.String()), func(s *bus.TLSSecret) error {
				secrets = append(secrets, bus.SecretRecord(s, 0))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			at := make([]int, len(secrets))
			for i := range at {
				at[i] = rng.IntN(len(frames) + 1)
			}
			slices.Sort(at)
			var plain [2][]byte
			chain := bus.NewChain(func(r *bus.Record) {
				switch {
				case r.Layer == bus.Plain && r.Type == bus.Data:
					plain[r.Dir] = append(plain[r.Dir], r.Payload...)
				case r.Layer == bus.Plain && r.Type == bus.Gap:
					t.Errorf("seed %d: %d bytes are missing", seed, r.Aux)
				}
			}, reassembler.New("test"), tlsdec.New())
			for i := 0; i <= len(frames); i++ {
				for len(at) > 0 && at[0] == i {
					chain.Process(secrets[0])
					at, secrets = at[1:], secrets[1:]
				}
				if i < len(frames) {
					f := *frames[i]
					f.Time, f.Offset = int64(i+1)*1e6, uint64(i)
					f.Payload = bytes.Clone(f.Payload)
					chain.Process(&f)
				}
			}
			chain.Process(&bus.Record{Layer: bus.Keys, Type: bus.EOS})
			chain.Process(&bus.Record{Layer: bus.Frames, Type: bus.EOS})
			for d := range plain {
				if !bytes.Equal(plain[d], c.plain[d]) {
					t.Errorf("%x, seed %d: %d bytes of plaintext in direction %d, want %d", version, seed, len(plain[d]), d, len(c.plain[d]))
				}
			}
		}
	}
}
