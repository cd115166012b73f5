package sink

// recentLimit is how many entries a recent holds, at least. A connection gets its
// verdicts close together, so that forgetting one costs a line twice at worst.
const recentLimit = 16 << 10

// recent is a map that forgets the entries that were put into it longest ago.
// The zero value is empty.
type recent[K comparable, V any] struct{ young, old map[K]V }

func (r *recent[K, V]) get(k K) V {
	if v, ok := r.young[k]; ok {
		return v
	}
	return r.old[k]
}

func (r *recent[K, V]) put(k K, v V) {
	if r.young == nil || len(r.young) >= recentLimit {
		r.young, r.old = map[K]V{}, r.young
	}
	r.young[k] = v
}
