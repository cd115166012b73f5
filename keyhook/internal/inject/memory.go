package inject

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pageSize is the machine's: 4, 16 or 64 KiB.
var pageSize = uint64(os.Getpagesize())

// memory is that of another process, to be written to even where it cannot do
// so itself. As in readProc, no os.File.
type memory int

func openMemory(pid int) (memory, error) {
	fd, err := unix.Open(procPath(pid, "mem"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open its memory: %w", err)
	}
	return memory(fd), nil
}

func (m memory) Close() error { return unix.Close(int(m)) }

// ReadAt implements io.ReaderAt.
func (m memory) ReadAt(b []byte, at int64) (int, error) { return m.whole(unix.Pread, b, at) }

// WriteAt implements io.WriterAt.
func (m memory) WriteAt(b []byte, at int64) (int, error) { return m.whole(unix.Pwrite, b, at) }

func (m memory) whole(move func(int, []byte, int64) (int, error), b []byte, at int64) (n int, err error) {
	for n < len(b) {
		k, err := move(int(m), b[n:], at+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case k == 0:
			return n, io.ErrUnexpectedEOF
		}
		n += max(k, 0)
	}
	return n, nil
}

// readString reads a NUL-terminated path from another process.
func readString(pid int, addr uint64) (string, bool) {
	var b [unix.PathMax]byte
	for got := 0; got < len(b); {
		// Not across a page that may not be mapped.
		k := min(int(pageSize-(addr+uint64(got))%pageSize), len(b)-got)
		m := readMemory(pid, b[got:got+k], addr+uint64(got))
		if m <= 0 {
			return "", false
		}
		if i := bytes.IndexByte(b[got:got+m], 0); i >= 0 {
			return string(b[:got+i]), true
		}
		got += m
	}
	return "", false
}

func readMemory(pid int, b []byte, addr uint64) int {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err != nil {
		return 0
	}
	return n
}

// Limits of the arguments that are read before an exec; a program that lives
// longer than a moment shows all of them in /proc.
const (
	maxArgs = 64
	maxArg  = 256
)

// readArgv reads the argument list of an exec that is about to happen.
func readArgv(pid int, addr uint64) []string {
	var ptrs [maxArgs * 8]byte
	k := min(int(pageSize-addr%pageSize), len(ptrs))
	n := readMemory(pid, ptrs[:k], addr) &^ 7
	var local []unix.Iovec
	var remote []unix.RemoteIovec
	var bufs [][]byte
	for o := 0; o < n; o += 8 {
		p := binary.LittleEndian.Uint64(ptrs[o:])
		if p == 0 {
			break
		}
		b := make([]byte, min(int(pageSize-p%pageSize), maxArg))
		bufs = append(bufs, b)
		local = append(local, unix.Iovec{Base: &b[0], Len: uint64(len(b))})
		remote = append(remote, unix.RemoteIovec{Base: uintptr(p), Len: len(b)})
	}
	if len(bufs) == 0 {
		return nil
	}
	got, err := unix.ProcessVMReadv(pid, local, remote, 0)
	if err != nil {
		return nil
	}
	var args []string
	for _, b := range bufs {
		if got <= 0 {
			break
		}
		b = b[:min(len(b), got)]
		got -= len(b)
		arg, _, _ := bytes.Cut(b, []byte{0})
		args = append(args, string(arg))
	}
	return args
}
