package reassembler

import "math"

// after is t + d without overflow: packet times are anybody's.
func after(t, d int64) int64 {
	if t > math.MaxInt64-d {
		return math.MaxInt64
	}
	return t + d
}

// timer is a place in a timerHeap.
type timer struct {
	conn      *conn      // whose timer it is, or
	fragments *fragments // ... these
	due       int64
	order     uint64
	at        int // index in the heap; -1 outside
}

// timerHeap orders timers by packet time. A timer may be due before its
// connection is: packets push a deadline back without touching the heap, and
// the owner sets the timer again when it fires.
type timerHeap struct{ h []*timer }

func (q *timerHeap) first() *timer {
	if len(q.h) == 0 {
		return nil
	}
	return q.h[0]
}

func (q *timerHeap) set(t *timer, due int64) {
	t.due = due
	if t.at < 0 {
		t.at = len(q.h)
		q.h = append(q.h, t)
	}
	q.up(t.at)
	q.down(t.at)
}

func (q *timerHeap) remove(t *timer) {
	if t.at < 0 {
		return
	}
	i, last := t.at, len(q.h)-1
	q.swap(i, last)
	q.h[last] = nil
	q.h = q.h[:last]
	t.at = -1
	if i < last {
		q.up(i)
		q.down(i)
	}
}

func (q *timerHeap) less(i, j int) bool {
	a, b := q.h[i], q.h[j]
	return a.due < b.due || a.due == b.due && a.order < b.order
}

func (q *timerHeap) swap(i, j int) {
	q.h[i], q.h[j] = q.h[j], q.h[i]
	q.h[i].at, q.h[j].at = i, j
}

func (q *timerHeap) up(i int) {
	for i > 0 && q.less(i, (i-1)/2) {
		q.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (q *timerHeap) down(i int) {
	for {
		j := 2*i + 1
		if j >= len(q.h) {
			return
		}
		if j+1 < len(q.h) && q.less(j+1, j) {
			j++
		}
		if !q.less(j, i) {
			return
		}
		q.swap(i, j)
		i = j
	}
}
