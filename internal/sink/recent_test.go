package sink

import "testing"

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent[int, int]
	const n = 5 * recentLimit
	for i := range n {
		r.put(i, i+1)
	}
	if held := len(r.young) + len(r.old); held > 2*recentLimit {
		t.Errorf("%d entries", held)
	}
	for i := n - recentLimit; i < n; i++ {
		if r.get(i) != i+1 {
			t.Fatalf("%d is forgotten", i)
		}
	}
	if r.get(0) != 0 {
		t.Error("the first is still there")
	}
}
