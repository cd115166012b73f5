package reassembler

import "hash/maphash"

// connTable finds connections by their five-tuple. A Go map would do the same,
// but with thousands of connections in turn each packet pays for its cache
// misses: here it is one for the entry and one for the connection itself.
type connTable struct {
	seed    maphash.Seed
	entries []entry // a power of two, at most half full
	n       int
}

// entry is free if c is nil.
type entry struct {
	hash uint64
	c    *conn
}

func newConnTable() connTable {
	return connTable{seed: maphash.MakeSeed(), entries: make([]entry, 64)}
}

// find is the index of the key's entry, or of the free one where it belongs.
func (t *connTable) find(k *flowKey, hash uint64) int {
	mask := len(t.entries) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		e := &t.entries[i]
		if e.c == nil || e.hash == hash && e.c.key == *k {
			return i
		}
	}
}

func (t *connTable) hash(k *flowKey) uint64 { return maphash.Comparable(t.seed, *k) }

func (t *connTable) get(k *flowKey) *conn { return t.entries[t.find(k, t.hash(k))].c }

// put adds c, whose key it has not yet, or replaces the one with that key.
func (t *connTable) put(c *conn) {
	if 2*(t.n+1) > len(t.entries) {
		old := t.entries
		t.entries = make([]entry, 2*len(old))
		for _, e := range old {
			if e.c != nil {
				t.entries[t.find(&e.c.key, e.hash)] = e
			}
		}
	}
	hash := t.hash(&c.key)
	i := t.find(&c.key, hash)
	if t.entries[i].c == nil {
		t.n++
	}
	t.entries[i] = entry{hash, c}
}

// remove removes c if it is there. What follows without a free entry between
// moves up, so that it is still found.
func (t *connTable) remove(c *conn) {
	i := t.find(&c.key, t.hash(&c.key))
	if t.entries[i].c != c {
		return
	}
	t.n--
	mask := len(t.entries) - 1
	for j := (i + 1) & mask; t.entries[j].c != nil; j = (j + 1) & mask {
		if home := int(t.entries[j].hash) & mask; (j-home)&mask >= (j-i)&mask {
			t.entries[i], i = t.entries[j], j
		}
	}
	t.entries[i] = entry{}
}
