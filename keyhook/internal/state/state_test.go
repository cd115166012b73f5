package state

import (
	"fmt"
	"testing"

	"clipper/keyhook/internal/seccomp"
)

func open(t *testing.T) (first, second *State) {
	t.Helper()
	f, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var s [2]*State
	for i := range s {
		if s[i], err = Open(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s[i].Close() })
	}
	return s[0], s[1]
}

func TestAbandoned(t *testing.T) {
	a, b := open(t)
	for id := uint64(1); id <= 5; id++ {
		*a.Received() = seccomp.Notification{ID: id, TID: uint32(100 + id)}
		if !a.Begin(*a.Received()) {
			t.Fatal("no room")
		}
	}
	a.End(2)
	a.Mark(3, Answered)
	*a.Received() = seccomp.Notification{ID: 3, TID: 103} // still there
	check := func(want map[uint64]uint32) {
		t.Helper()
		got := map[uint64]uint32{}
		for _, n := range b.Abandoned() {
			if n.TID != uint32(100+n.ID) {
				t.Errorf("%+v", n)
			}
			got[n.ID] = n.Flags
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	check(map[uint64]uint32{1: 0, 3: Answered, 4: 0, 5: 0})
	*a.Received() = seccomp.Notification{ID: 6, TID: 106} // killed between receipt and Begin
	check(map[uint64]uint32{6: 0})
	check(map[uint64]uint32{})
	for id := range uint64(maxFlight) {
		if !b.Begin(seccomp.Notification{ID: id + 1}) {
			t.Fatalf("no room for %d", id)
		}
	}
	if b.Begin(seccomp.Notification{ID: 1 << 40}) {
		t.Error("room without end")
	}
}

func TestSeen(t *testing.T) {
	a, b := open(t)
	const lines = 3 * maxSeen / 4
	for i := range lines {
		l := fmt.Sprint("line ", i)
		if a.Seen(l) {
			t.Fatalf("%s was never published", l)
		}
		a.Published(l)
	}
	forgotten := 0
	for i := range lines {
		if !b.Seen(fmt.Sprint("line ", i)) {
			forgotten++
		}
	}
	if forgotten > lines/50 {
		t.Errorf("%d of %d forgotten", forgotten, lines)
	}
}

func TestImages(t *testing.T) {
	a, b := open(t)
	im := Image{PID: 7, Executable: "/usr/bin/curl", Library: "openssl", Mechanism: "symbols"}
	im.ID = a.AddImage(im)
	if got, ok := b.Image(im.ID); !ok || got != im {
		t.Errorf("%+v, want %+v", got, im)
	}
	long := a.AddImage(Image{Executable: string(make([]byte, 5000)), Library: string(make([]byte, 100))})
	if got, ok := b.Image(long); !ok || len(got.Library) != 64 || len(got.Executable) == 0 {
		t.Errorf("%+v", got)
	}
	for range maxImages {
		a.AddImage(Image{PID: 8})
	}
	if got, ok := b.Image(im.ID); ok {
		t.Errorf("an overwritten image: %+v", got)
	}
	if _, ok := b.Image(0); ok {
		t.Error("image 0")
	}
}

func TestProcesses(t *testing.T) {
	a, b := open(t)
	a.AddProcess(10, 100)
	a.AddProcess(10, 200)
	a.AddProcess(10+maxProcs, 300)
	if got, want := fmt.Sprint(b.Processes()), fmt.Sprint(map[int]uint64{10: 200, 10 + maxProcs: 300}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.RemoveProcess(10, 100)
	b.RemoveProcess(10, 200)
	if got, want := fmt.Sprint(a.Processes()), fmt.Sprint(map[int]uint64{10 + maxProcs: 300}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
