package inject

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/scan"
	"clipper/keyhook/internal/seccomp"
)

// An orphan is a task whose supervisor was killed in the middle of a dance. It
// ran into the way back (payload.Gate) and waits there for us: we do what was
// not done, for all of its mapped files, and let it go on.

// orphanCookie are the arguments of an orphan's system call.
func (s *Supervisor) orphanCookie() [2]uint64 {
	c1, c2 := s.State.Cookie()
	return [2]uint64{c1, c2 + 1}
}

func (s *Supervisor) adoptOrphan(n seccomp.Notification) {
	s.logf("%d: was left in a dance", n.TID)
	s.startDance(&dance{s: s, n: n, tid: int(n.TID), orphan: true})
}

// hookOrphan is hook for a task that waits in a gate. Whatever happens to us,
// behind the gate's call all registers are loaded anew.
func (d *dance) hookOrphan() error {
	var regs registers
	if err := regs.get(d.tid); err != nil {
		return errGone
	}
	mem, err := openMemory(d.tid)
	if err != nil {
		return err
	}
	defer mem.Close()
	maps, err := readMaps(d.tid)
	if err != nil {
		return err
	}
	t := &tracee{tid: d.tid, mem: mem, saved: regs, gate: regs.pc() - uint64(len(gateCode))}
	if err := t.begin(0, [2]uint64{}); err != nil {
		t.end()
		return err
	}
	for _, x := range maps {
		res := d.mapped(x)
		if !res.Hookable() {
			continue
		}
		bias, err := mapBias(x.lo, x.hi-x.lo, x.offset, res)
		if err != nil || !untouched(mem, &res.Sites[0], bias) {
			continue
		}
		if _, err := d.s.install(t, res, bias, maps); err != nil {
			d.s.impossible(d.tid, res, failed(err))
			continue
		}
		d.s.placed(d.tid, res)
		if maps, err = readMaps(d.tid); err != nil {
			break
		}
	}
	if t.end() != nil {
		return errGone
	}
	return nil
}

// mapped is what is known of a mapped file.
func (d *dance) mapped(x mapping) *scan.Result {
	if !x.exec || x.inode == 0 || len(x.name) == 0 || x.name[0] != '/' {
		return nil
	}
	fd, err := openAs(d.tid, unix.AT_FDCWD, x.name)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	if k, ok := statKey(path); !ok || k.ino != x.inode {
		return nil
	}
	return d.s.cache.search(path, searchLimit)
}

// untouched reports whether the text of a site is still the file's.
func untouched(mem memory, x *scan.Site, bias uint64) bool {
	want := x.Text[:min(len(x.Text), 16)]
	now := make([]byte, len(want))
	_, err := mem.ReadAt(now, int64(x.Addr+bias))
	return err == nil && bytes.Equal(now, want)
}
