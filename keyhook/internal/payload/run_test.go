package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/ring"
)

// These tests run the generated code and the blob inside the test process, on
// whatever architecture it runs (for arm64 also under qemu-user). Functions of
// machine code are called with Go's register convention.

// lab is memory for code and state.
type lab struct {
	t    *testing.T
	mem  []byte
	code Code
	ring *ring.Ring
	at   uint64 // of the ring
}

func newLab(t *testing.T) *lab {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Skipf("SKIPPED: no memory to write and execute: %v", err)
	}
	f, err := ring.Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := ring.Open(int(f.Fd()), new(uint64))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := unix.Mmap(int(f.Fd()), 0, ring.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, mem: mem, ring: r, at: uint64(uintptr(unsafe.Pointer(&theirs[0]))),
		code: Code{Base: uint64(uintptr(unsafe.Pointer(&mem[0])))}}
}

// state is a parameter block in the upper half of the memory.
func (l *lab) state() (uint64, []byte) {
	p := l.mem[1<<15:]
	binary.LittleEndian.PutUint64(p[ParamRing:], l.at)
	binary.LittleEndian.PutUint32(p[ParamImage:], 7)
	binary.LittleEndian.PutUint32(p[ParamFlags:], FlagAskIDs)
	return l.code.Base + 1<<15, p
}

func (l *lab) flush() { copy(l.mem, l.code.Bytes) }

// function makes a func value of machine code.
func function[F any](addr uint64) F {
	code := &[1]uintptr{uintptr(addr)}
	p := unsafe.Pointer(code)
	return *(*F)(unsafe.Pointer(&p))
}

// hooked makes a function of the given machine code with a hook for op, and
// returns its address and the address of the original behind the hook.
func (l *lab) hooked(op uint32, param, blob uint64, body []byte) (fn, original uint64) {
	l.t.Helper()
	fn = l.code.Here()
	at := len(l.code.Bytes)
	l.code.Append(body...)
	l.code.Align(16)
	stub := l.code.Here()
	if err := Native.Body(&l.code, op, param, blob); err != nil {
		l.t.Fatal(err)
	}
	original = l.code.Here()
	if _, err := Native.Displaced(&l.code, fn, body); err != nil {
		l.t.Fatal(err)
	}
	l.code.Align(16)
	jump, err := Native.Jump(fn, stub)
	if err != nil {
		l.t.Fatal(err)
	}
	copy(l.code.Bytes[at:], jump)
	return fn, original
}

// Machine code of small C functions, and of the way from Go's registers to C's.
var (
	answer = map[string][]byte{ // return 42
		"amd64": {0xb8, 42, 0, 0, 0, 0xc3},
		"arm64": {0x40, 0x05, 0x80, 0xd2, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
	setWord = map[string][]byte{ // *(arg0+8) = arg1
		"amd64": {0x48, 0x89, 0x77, 0x08, 0x90, 0xc3},
		"arm64": {0x01, 0x04, 0x00, 0xf9, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
	getWord = map[string][]byte{ // return *(arg0+8)
		"amd64": {0x48, 0x8b, 0x47, 0x08, 0x90, 0xc3},
		"arm64": {0x00, 0x04, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
	getFirst = map[string][]byte{ // return *arg0
		"amd64": {0x48, 0x8b, 0x07, 0x90, 0x90, 0xc3},
		"arm64": {0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
	nothing = map[string][]byte{
		"amd64": {0x48, 0x89, 0xf8, 0x90, 0x90, 0xc3}, // mov rax, rdi
		"arm64": {0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
	// note: calls (*arg0 + 16)++, a callback that is to be chained to.
	count = map[string][]byte{ // ++*(*arg0+16)
		"amd64": {0x48, 0x8b, 0x07, 0x48, 0xff, 0x40, 0x10, 0xc3},
		"arm64": {0x00, 0x00, 0x40, 0xf9, 0x02, 0x08, 0x40, 0xf9, 0x42, 0x04, 0x00, 0x91, 0x02, 0x08, 0x00, 0xf9, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]
)

// fromGo appends a function that passes three arguments on to a C function. It
// keeps what Go expects to be kept.
func (l *lab) fromGo(c uint64) uint64 {
	l.code.Align(16)
	fn := l.code.Here()
	if runtime.GOARCH == "amd64" {
		l.code.Append(0x48, 0x89, 0xc7, 0x48, 0x89, 0xde, 0x48, 0x89, 0xca) // mov rdi, rax; mov rsi, rbx; mov rdx, rcx
		if err := l.code.branch(c, 0xe9); err != nil {
			l.t.Fatal(err)
		}
	} else if err := l.code.b(opB, c); err != nil {
		l.t.Fatal(err)
	}
	return fn
}

func (l *lab) take() (records []ring.Record) {
	records = l.ring.Take(nil, ring.Slots)
	for _, r := range records {
		l.ring.Release(r)
	}
	return records
}

func TestRunEmit(t *testing.T) {
	l := newLab(t)
	blob := l.code.Here()
	l.code.Append(Blob()...)
	l.code.Align(16)
	param, _ := l.state()
	fn, _ := l.hooked(OpEmit, param, blob, answer)
	l.flush()
	log := function[func(c uintptr, label string, random, secret []byte) uintptr](fn)
	for i := range 100 {
		random, secret := bytes.Repeat([]byte{byte(i)}, 32), bytes.Repeat([]byte{0xab}, 48)
		runtime.LockOSThread()
		tid := unix.Gettid()
		got := log(1, "CLIENT_RANDOM", random, secret)
		runtime.UnlockOSThread()
		if got != 42 {
			t.Fatalf("the function returned %d", got)
		}
		recs := l.take()
		want := fmt.Sprintf("CLIENT_RANDOM %x %x", random, secret)
		if len(recs) != 1 || recs[0].Line != want || recs[0].PID != unix.Getpid() || recs[0].TID != tid || recs[0].Image != 7 {
			t.Fatalf("%+v, want %s of pid %d", recs, want, unix.Getpid())
		}
	}
	if log(1, "", nil, nil) != 42 || len(l.take()) != 1 {
		t.Error("empty spans")
	}
	if log(1, "X", make([]byte, 300), nil) != 42 || len(l.take()) != 0 || l.ring.Dropped() != 1 {
		t.Error("what is too long must be dropped")
	}
	for range ring.Slots + 3 {
		log(1, "X", nil, nil)
	}
	if d := l.ring.Dropped(); d != 1+3+ring.Slots-uint64(len(l.take())) && d != 4 {
		t.Errorf("a full ring dropped %d", d)
	}
}

// TestRunCallback goes the way of OpenSSL: a context {-, callback, counter}
// and a connection {context}.
func TestRunCallback(t *testing.T) {
	l := newLab(t)
	blob := l.code.Here()
	l.code.Append(Blob()...)
	l.code.Align(16)
	param, p := l.state()
	put := func(o int, v uint64) { binary.LittleEndian.PutUint64(p[o:], v) }
	put(ParamGet, l.raw(getWord))
	put(ParamGetCtx, l.raw(getFirst))
	theirs := l.raw(count)
	l.code.Align(16)
	ours := l.code.Here()
	put(ParamCallback, ours)
	if err := Native.Body(&l.code, OpCallback, param, blob); err != nil {
		t.Fatal(err)
	}
	Native.Return(&l.code)
	l.code.Align(16)
	setter, original := l.hooked(OpSetCallback, param, blob, setWord)
	put(ParamSet, original)
	sslNew, _ := l.hooked(OpSSLNew, param, blob, nothing)
	setC, newC, callC := l.fromGo(setter), l.fromGo(sslNew), l.fromGo(ours)
	l.flush()
	type context struct{ _, callback, count uint64 }
	type connection struct{ ctx *context }
	set := function[func(*context, uintptr)](setC)
	connect := function[func(*context, uintptr) uintptr](newC)
	call := function[func(*connection, *byte)](callC)
	line := append([]byte("CLIENT_RANDOM 00 11"), 0)

	plain := &context{}
	connect(plain, 0)
	if plain.callback != ours {
		t.Fatalf("callback %#x, want ours at %#x", plain.callback, ours)
	}
	call(&connection{plain}, &line[0])
	if recs := l.take(); len(recs) != 1 || recs[0].Line != "CLIENT_RANDOM 00 11" {
		t.Errorf("%+v", recs)
	}
	for _, before := range []bool{true, false} {
		c := &context{}
		if before {
			set(c, uintptr(theirs))
		}
		connect(c, 0)
		if !before {
			set(c, uintptr(theirs))
		}
		if c.callback != ours {
			t.Fatalf("before %v: callback %#x, want ours at %#x", before, c.callback, ours)
		}
		call(&connection{c}, &line[0])
		if recs := l.take(); len(recs) != 1 || c.count != 1 {
			t.Errorf("before %v: %d records, their callback was called %d times", before, len(recs), c.count)
		}
		set(c, 0) // they want none any more
		call(&connection{c}, &line[0])
		if recs := l.take(); len(recs) != 1 || c.count != 1 {
			t.Errorf("before %v: %d records, their former callback was called", before, len(recs))
		}
	}
	binary.LittleEndian.PutUint32(p[ParamFlags:], FlagNoChain)
	c := &context{}
	set(c, uintptr(theirs))
	connect(c, 0)
	if c.callback != theirs {
		t.Errorf("callback %#x, want theirs: it could not be chained to", c.callback)
	}
}

// raw appends machine code and returns its address.
func (l *lab) raw(code []byte) uint64 {
	l.code.Align(16)
	a := l.code.Here()
	l.code.Append(code...)
	return a
}

// TestRunNSS stands in for NSS: a key {item}, which PK11_GetKeyData returns, an
// item {type, data, length}, and a socket with the client random at 16.
func TestRunNSS(t *testing.T) {
	l := newLab(t)
	blob := l.raw(Blob())
	param, p := l.state()
	put := func(o int, v uint64) { binary.LittleEndian.PutUint64(p[o:], v) }
	ok, getData := l.raw(map[string][]byte{ // return 0
		"amd64": {0x31, 0xc0, 0xc3},
		"arm64": {0x00, 0x00, 0x80, 0xd2, 0xc0, 0x03, 0x5f, 0xd6},
	}[runtime.GOARCH]), l.raw(getFirst)
	const extractAt, dataAt = 512, 520 // the imports
	put(extractAt, ok)
	put(dataAt, getData)
	put(ParamGet, param+extractAt)
	put(ParamSet, param+dataAt)
	put(ParamCtxOff, 16)
	l.code.Align(16)
	fn, _ := l.hooked(OpNSS, param, blob, nothing)
	record := l.fromGo(fn)
	l.flush()
	type item struct {
		_    uint32
		data *byte
		len  uint32
	}
	type key struct{ item *item }
	type socket struct {
		_      [16]byte
		random [32]byte
	}
	log := function[func(s *socket, label *byte, k *key)](record)
	secret := []byte{1, 2, 3}
	s := &socket{random: [32]byte{0: 0xaa}}
	label := []byte("CLIENT_RANDOM\x00")
	log(s, &label[0], &key{&item{data: &secret[0], len: 3}})
	if recs, want := l.take(), fmt.Sprintf("CLIENT_RANDOM %x 010203", s.random); len(recs) != 1 || recs[0].Line != want {
		t.Errorf("%+v, want %s", recs, want)
	}
	log(s, &label[0], &key{}) // its value is not to be had
	if recs := l.take(); len(recs) != 0 {
		t.Errorf("%+v of a key without a value", recs)
	}
	put(extractAt, getData) // which is not 0
	log(s, &label[0], &key{&item{data: &secret[0], len: 3}})
	if recs := l.take(); len(recs) != 0 {
		t.Errorf("%+v of a key that cannot be exported", recs)
	}
}

// TestRunMbedTLS goes the way of a configuration {-, f_export_keys, f_export_keys_ext}.
func TestRunMbedTLS(t *testing.T) {
	l := newLab(t)
	blob := l.raw(Blob())
	param, p := l.state()
	put := func(o int, v uint64) { binary.LittleEndian.PutUint64(p[o:], v) }
	put(ParamGet, l.raw([]byte(LabelMaster)))
	put(ParamCBOff, 8)
	put(ParamCtxOff, 16)
	ours := l.raw(nil)
	put(ParamCallback, ours)
	if err := Native.Body(&l.code, OpMbedKeys, param, blob); err != nil {
		t.Fatal(err)
	}
	Native.Return(&l.code)
	l.code.Align(16)
	fn, _ := l.hooked(OpMbedSetup, param, blob, nothing)
	setupC := l.fromGo(fn)
	l.code.Align(16)
	exportC := l.code.Here() // (p, master secret, client random), which is the seventh argument
	if runtime.GOARCH == "amd64" {
		l.code.Append(0x48, 0x89, 0xc7, 0x48, 0x89, 0xde, 0x51) // mov rdi, rax; mov rsi, rbx; push rcx
		if err := l.code.branch(ours, 0xe8); err != nil {
			t.Fatal(err)
		}
		l.code.Append(0x59, 0xc3) // pop rcx; ret
	} else {
		l.code.Append(0xe6, 0x03, 0x02, 0xaa) // mov x6, x2
		if err := l.code.b(opB, ours); err != nil {
			t.Fatal(err)
		}
	}
	l.flush()
	type config struct{ _, old, ext uint64 }
	setup := function[func(ssl uintptr, c *config)](setupC)
	export := function[func(p uintptr, secret, random *byte) uintptr](exportC)
	for _, c := range []struct{ before, want config }{
		{config{}, config{ext: ours}},
		{config{ext: ours}, config{ext: ours}},
		{config{ext: 5}, config{ext: 5}}, // the program's own
		{config{old: 5}, config{old: 5}},
	} {
		conf := c.before
		if setup(1, &conf); conf != c.want {
			t.Errorf("%+v became %+v, want %+v", c.before, conf, c.want)
		}
	}
	secret, random := bytes.Repeat([]byte{7}, 48), bytes.Repeat([]byte{8}, 32)
	if got := export(9, &secret[0], &random[0]); got != 0 {
		t.Errorf("the export returned %d", got)
	}
	if recs, want := l.take(), fmt.Sprintf("CLIENT_RANDOM %x %x", random, secret); len(recs) != 1 || recs[0].Line != want {
		t.Errorf("%+v, want %s", recs, want)
	}
}
