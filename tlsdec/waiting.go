package tlsdec

import (
	"cmp"
	"slices"
)

// waitingRoom finds the connections that wait for a secret by the keys that
// would wake them. Its order is that in which the connections were opened, which does
// not depend on when secrets came.
type waitingRoom struct {
	byKey  map[string][]*conn
	anyKey []*conn // whose secret may be logged under any key
}

// waiter is a connection's place in the room.
type waiter struct {
	keys []string
	any  bool
}

func newWaitingRoom() *waitingRoom { return &waitingRoom{byKey: map[string][]*conn{}} }

// enter lets c be woken by secrets under keys, or by all.
func (w *waitingRoom) enter(c *conn, keys []string, any bool) {
	c.waiter = &waiter{keys, any}
	for _, k := range keys {
		w.byKey[k] = with(w.byKey[k], c)
	}
	if any {
		w.anyKey = with(w.anyKey, c)
	}
}

func (w *waitingRoom) leave(c *conn) {
	for _, k := range c.waiter.keys {
		if w.byKey[k] = without(w.byKey[k], c); len(w.byKey[k]) == 0 {
			delete(w.byKey, k)
		}
	}
	if c.waiter.any {
		w.anyKey = without(w.anyKey, c)
	}
	c.waiter = nil
}

// interested lists who may be woken by a secret under key.
func (w *waitingRoom) interested(key string) []*conn {
	list := slices.Clone(w.anyKey)
	for _, c := range w.byKey[key] {
		list = with(list, c)
	}
	return list
}

func byNumber(a, b *conn) int { return cmp.Compare(a.number, b.number) }

func with(list []*conn, c *conn) []*conn {
	i, found := slices.BinarySearchFunc(list, c, byNumber)
	if found {
		return list
	}
	return slices.Insert(list, i, c)
}

func without(list []*conn, c *conn) []*conn {
	if i, found := slices.BinarySearchFunc(list, c, byNumber); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}
