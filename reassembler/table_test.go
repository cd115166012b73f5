package reassembler

import (
	"math/rand/v2"
	"testing"

	"clipper/reassembler/internal/wire"
)

// The table against a map: any order of additions, replacements and removals.
func TestConnTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	table, want := newConnTable(), map[flowKey]*conn{}
	for range 200_000 {
		k := flowKey{proto: wire.ProtoTCP, a: endpoint{port: uint16(rng.IntN(3000))}}
		switch rng.IntN(5) {
		case 0, 1:
			c := &conn{key: k}
			table.put(c)
			want[k] = c
		case 2, 3:
			if c := want[k]; c != nil {
				table.remove(c)
				delete(want, k)
			} else {
				table.remove(&conn{key: k})
			}
		}
		if got := table.get(&k); got != want[k] || table.n != len(want) {
			t.Fatalf("port %d: %p, want %p; %d connections of %d", k.a.port, got, want[k], table.n, len(want))
		}
	}
	for k, c := range want {
		if table.get(&k) != c {
			t.Fatalf("port %d is lost", k.a.port)
		}
	}
}
