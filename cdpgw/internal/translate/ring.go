package translate

// ring is a map that forgets its oldest entry when it is full.
type ring[K comparable, V any] struct {
	limit  int
	values map[K]V
	order  []K
}

func newRing[K comparable, V any](limit int) ring[K, V] {
	return ring[K, V]{limit: limit, values: map[K]V{}}
}

func (r *ring[K, V]) get(k K) (V, bool) {
	v, ok := r.values[k]
	return v, ok
}

func (r *ring[K, V]) put(k K, v V) {
	if _, ok := r.values[k]; !ok {
		if len(r.order) >= 2*r.limit {
			r.order = append(r.order[:0:0], r.order[len(r.order)-r.limit:]...)
		}
		if len(r.values) >= r.limit {
			r.evict()
		}
		r.order = append(r.order, k)
	}
	r.values[k] = v
}

func (r *ring[K, V]) evict() {
	for i, k := range r.order {
		if _, ok := r.values[k]; ok {
			delete(r.values, k)
			r.order = r.order[i+1:]
			return
		}
	}
}
