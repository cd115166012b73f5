package inject

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/payload"
	"clipper/keyhook/internal/ring"
	"clipper/keyhook/internal/scan"
	"clipper/keyhook/internal/state"
)

// codeSize is the size of the code mapping.
const codeSize = 8192

// patch is one overwriting of the program.
type patch struct {
	at       uint64
	old, new []byte
}

// install maps code, ring and state into the stopped task and patches it. It
// returns the number of patches; after an error there is none.
func (s *Supervisor) install(t *tracee, res *scan.Result, bias uint64, maps mappings) (int, error) {
	at, err := s.makeRoom(t, res, bias, maps)
	if err != nil {
		at.giveBack(t)
		return 0, err
	}
	b := &builder{res: res, bias: bias, code: payload.Code{Base: at.code}, stateAt: at.state}
	b.put(payload.ParamRing, at.ring)
	exe := readlink(procPath(t.tid, "exe"))
	status, _ := readProc(t.tid, "status", maxStatus)
	pid, ok := field(status, "Tgid")
	if !ok {
		pid = t.tid
	}
	image := s.State.AddImage(state.Image{PID: pid, Executable: exe, Library: res.Library, Mechanism: res.Mechanism})
	flags := uint32(0)
	if ownFilters(status) == 0 {
		flags |= payload.FlagAskIDs
	}
	if res.Sites[0].Kind == scan.OpenSSL && res.API[scan.SSLGetCtx] == 0 {
		flags |= payload.FlagNoChain
	}
	b.put(payload.ParamImage, uint64(flags)<<32|uint64(image))
	patches, err := b.build()
	if err == nil && len(b.code.Bytes) > codeSize {
		err = fmt.Errorf("%d bytes of code", len(b.code.Bytes))
	}
	if err == nil && b.stateAt != 0 {
		err = t.write(b.stateAt, b.param[:])
	}
	if err == nil {
		err = t.write(at.code, b.code.Bytes)
	}
	if err == nil {
		err = t.apply(patches)
	}
	if err != nil {
		at.giveBack(t)
		return 0, err
	}
	s.logf("%d: %d patches, code %#x (%d bytes), ring %#x, bias %#x", t.tid, len(patches), at.code, len(b.code.Bytes), at.ring, bias)
	return len(patches), nil
}

// room is the memory of a hook in the task, 0 where there is none.
type room struct{ code, state, ring uint64 }

// makeRoom maps it: at once if that can be done, else call by call.
func (s *Supervisor) makeRoom(t *tracee, res *scan.Result, bias uint64, maps mappings) (r room, err error) {
	l := payload.Load{CodeSize: codeSize, Ring: s.ringCookie()}
	if res.Stateful() {
		l.StateSize = payload.StateSize
	}
	codeRoom := max(codeSize, pageSize)
	if l.Code, err = maps.gap(res.Sites[0].Addr+bias, codeRoom+max(l.StateSize, pageSize), payload.Reach); err != nil {
		return r, err
	}
	l.State = l.Code + codeRoom
	if r.ring = maps.memfd(ring.Name, s.Ring.Inode); r.ring == 0 {
		l.RingSize = ring.Size
	}
	if t.load != nil {
		at, err := t.load(t, l)
		if err != nil {
			return r, err
		}
		if int64(at) > 0 {
			r.code = l.Code
			if l.StateSize != 0 {
				r.state = l.State
			}
			if r.ring == 0 {
				r.ring = at
			}
			return r, nil
		}
	}
	// The code first: the other maps may take the gap.
	if r.code, err = t.call(unix.SYS_MMAP, l.Code, codeSize, unix.PROT_READ|unix.PROT_EXEC,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0); err != nil {
		return r, fmt.Errorf("map code: %w", err)
	}
	if r.ring == 0 {
		if r.ring, err = s.mapRing(t, l.Ring); err != nil {
			return r, err
		}
	}
	if l.StateSize != 0 {
		if r.state, err = t.call(unix.SYS_MMAP, 0, l.StateSize, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0); err != nil {
			return r, fmt.Errorf("map state: %w", err)
		}
	}
	return r, nil
}

// giveBack unmaps what is the hook's alone: the ring may be another's too.
func (r room) giveBack(t *tracee) {
	if r.state != 0 {
		t.call(unix.SYS_MUNMAP, r.state, payload.StateSize)
	}
	if r.code != 0 {
		t.call(unix.SYS_MUNMAP, r.code, codeSize)
	}
}

// ringCookie are the arguments of the system call that asks for the ring.
func (s *Supervisor) ringCookie() [2]uint64 {
	c1, c2 := s.State.Cookie()
	return [2]uint64{c1, c2}
}

func (s *Supervisor) mapRing(t *tracee, cookie [2]uint64) (uint64, error) {
	fd, err := t.call(unix.SYS_EXECVEAT, cookie[0], cookie[1])
	if err != nil {
		return 0, fmt.Errorf("pass the key ring: %w", err)
	}
	at, err := t.call(unix.SYS_MMAP, 0, ring.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd, 0)
	t.call(unix.SYS_CLOSE, fd)
	if err != nil {
		return 0, fmt.Errorf("map the key ring: %w", err)
	}
	return at, nil
}

// ownFilters is how many seccomp filters the task has besides ours and those
// that were there before (Linux 5.9; 0 where that cannot be told). With one of
// its own, a system call that it does not expect may kill it.
func ownFilters(status []byte) int {
	n, ok := field(status, "Seccomp_filters")
	if !ok {
		return 0
	}
	return max(n-filtersBefore()-1, 0)
}

var filtersBefore = sync.OnceValue(func() int {
	n, _ := statusField(unix.Getpid(), "Seccomp_filters")
	return n
})

// apply makes the patches, all or none: first it checks that the text is what
// was searched.
func (t *tracee) apply(patches []patch) error {
	for _, p := range patches {
		now := make([]byte, len(p.old))
		if _, err := t.mem.ReadAt(now, int64(p.at)); err != nil {
			return fmt.Errorf("read its code: %w", err)
		}
		if !bytes.Equal(now, p.old) {
			return fmt.Errorf("its code at %#x is not what the file holds", p.at)
		}
	}
	for i, p := range patches {
		if err := t.write(p.at, p.new); err != nil {
			for _, q := range patches[:i] {
				t.write(q.at, q.old)
			}
			return fmt.Errorf("patch: %w", err)
		}
	}
	return nil
}

// builder lays out the code page: the blob, a stub for each site.
type builder struct {
	res     *scan.Result
	bias    uint64
	code    payload.Code
	param   [payload.ParamSize]byte
	stateAt uint64 // parameter block with table; 0: a read-only one in the code
	patches []patch
}

func (b *builder) put(off int, v uint64) { binary.LittleEndian.PutUint64(b.param[off:], v) }

func (b *builder) build() ([]patch, error) {
	const align = 16
	c, arch := &b.code, payload.Native
	blob := c.Here()
	c.Append(payload.Blob()...)
	c.Align(align)
	paramAt, paramIn := b.stateAt, len(c.Bytes)
	if paramAt == 0 {
		paramAt = c.Here()
		c.Append(b.param[:]...)
	} else {
		for off, name := range map[int]string{payload.ParamGet: scan.SSLGetCallback, payload.ParamSet: scan.SSLSetCallback, payload.ParamGetCtx: scan.SSLGetCtx} {
			if a := b.res.API[name]; a != 0 {
				b.put(off, a+b.bias)
			}
		}
		if b.res.CallbackOff != 0 {
			b.put(payload.ParamGet, c.Here())
			arch.Getter(c, uint32(b.res.CallbackOff))
			c.Align(align)
		}
		b.put(payload.ParamCallback, c.Here())
		if err := arch.Body(c, payload.OpCallback, paramAt, blob); err != nil {
			return nil, err
		}
		arch.Return(c)
		c.Align(align)
	}
	for i := range b.res.Sites {
		if err := b.site(&b.res.Sites[i], paramAt, blob); err != nil {
			return nil, fmt.Errorf("%s: %w", b.res.Sites[i].Name, err)
		}
		c.Align(align)
	}
	if b.stateAt == 0 {
		copy(c.Bytes[paramIn:], b.param[:])
	}
	return b.patches, nil
}

func (b *builder) site(x *scan.Site, paramAt, blob uint64) error {
	c, arch := &b.code, payload.Native
	switch x.Kind {
	case scan.SSLLogSecret:
		b.put(payload.ParamCtxOff, x.CtxOff)
		b.put(payload.ParamCBOff, x.CallbackOff)
	case scan.GnuTLSKeyLog:
		b.put(payload.ParamCtxOff, x.RandomOff)
	case scan.NSSKeyLog:
		b.put(payload.ParamCtxOff, x.RandomOff)
		b.put(payload.ParamGet, x.Imports[0]+b.bias)
		b.put(payload.ParamSet, x.Imports[1]+b.bias)
	case scan.MbedTLSSetup:
		b.put(payload.ParamCtxOff, x.CtxOff)
		b.put(payload.ParamCBOff, x.CallbackOff)
		if err := b.keyExport(paramAt, blob); err != nil {
			return err
		}
	}
	stub := c.Here()
	if err := arch.Body(c, operation(x), paramAt, blob); err != nil {
		return err
	}
	if x.Kind == scan.RustlsKeyLog {
		return b.vtable(x, stub)
	}
	skip := arch.Entry(x.Text)
	at, text := x.Addr+b.bias+uint64(skip), x.Text[skip:]
	original := c.Here()
	if _, err := arch.Displaced(c, at, text); err != nil {
		return err
	}
	if x.Name == scan.SSLSetCallback {
		b.put(payload.ParamSet, original) // ours goes past the hook
	}
	jump, err := arch.Jump(at, stub)
	if err != nil {
		return err
	}
	if len(text) < len(jump) {
		return payload.ErrDisplace
	}
	b.patches = append(b.patches, patch{at, text[:len(jump)], jump})
	return nil
}

// keyExport lays out our key export callback for mbed TLS.
func (b *builder) keyExport(paramAt, blob uint64) error {
	c, arch := &b.code, payload.Native
	b.put(payload.ParamGet, c.Here())
	c.Append([]byte(payload.LabelMaster)...)
	c.Align(16)
	b.put(payload.ParamCallback, c.Here())
	if err := arch.Body(c, payload.OpMbedKeys, paramAt, blob); err != nil {
		return err
	}
	arch.Return(c)
	c.Align(16)
	return nil
}

// vtable replaces a vtable's entries; no code is patched. The stub for log is
// begun: it goes on to a log that does something, and will_log of one that
// does not becomes true.
func (b *builder) vtable(x *scan.Site, stub uint64) error {
	c, arch := &b.code, payload.Native
	to := []uint64{stub}
	if len(x.Slots) == 2 {
		arch.Return(c)
		to = append(to, c.Here())
		arch.ReturnTrue(c)
	} else if err := arch.Branch(c, x.Slots[0].Value+b.bias); err != nil {
		return err
	}
	for i, s := range x.Slots {
		if s.Rebase {
			to[i] -= b.bias
		}
		b.patches = append(b.patches, patch{s.At + b.bias, binary.LittleEndian.AppendUint64(nil, s.Value), binary.LittleEndian.AppendUint64(nil, to[i])})
	}
	return nil
}

func operation(x *scan.Site) uint32 {
	switch x.Kind {
	case scan.GoWriteKeyLog:
		return payload.OpEmit
	case scan.SSLLogSecret:
		return payload.OpSSLLogSecret
	case scan.RustlsKeyLog:
		return payload.OpRustlsLog
	case scan.GnuTLSKeyLog:
		return payload.OpGnuTLS
	case scan.NSSKeyLog:
		return payload.OpNSS
	case scan.MbedTLSSetup:
		return payload.OpMbedSetup
	}
	switch x.Name {
	case scan.SSLNew:
		return payload.OpSSLNew
	case scan.SSLSetCtx:
		return payload.OpSetSSLCtx
	}
	return payload.OpSetCallback
}
