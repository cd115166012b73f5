package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// run interprets the few classic BPF instructions that Program uses.
func run(t *testing.T, prog []unix.SockFilter, data []byte) uint32 {
	t.Helper()
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[in.K:])
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if acc == in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			if acc&in.K != 0 {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %d: code %#x", pc, in.Code)
		}
	}
	t.Fatal("fell off the end")
	return 0
}

func TestProgram(t *testing.T) {
	const notify, allow = unix.SECCOMP_RET_USER_NOTIF, unix.SECCOMP_RET_ALLOW
	file, anon := uint64(unix.MAP_PRIVATE), uint64(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	rx, rw := uint64(unix.PROT_READ|unix.PROT_EXEC), uint64(unix.PROT_READ|unix.PROT_WRITE)
	for name, a := range map[string]ABI{"amd64": AMD64, "arm64": ARM64} {
		for _, c := range []struct {
			what        string
			arch, nr    uint32
			prot, flags uint64
			want        uint32
		}{
			{"execve", a.Audit, a.Execve, 0, 0, notify},
			{"execveat", a.Audit, a.Execveat, 0, 0, notify},
			{"mmap of a file, exec", a.Audit, a.Mmap, rx, file, notify},
			{"mmap of a file, exec, high bits", a.Audit, a.Mmap, rx, 1<<32 | file, notify},
			{"mmap of a file", a.Audit, a.Mmap, rw, file, allow},
			{"mmap anonymous, exec", a.Audit, a.Mmap, rx, anon, allow},
			{"getpid", a.Audit, 39, 0, 0, allow},
			{"execve of 32-bit", a.Audit32, a.Execve32, 0, 0, notify},
			{"execveat of 32-bit", a.Audit32, a.Execveat32, 0, 0, notify},
			{"64-bit number in 32-bit", a.Audit32, a.Mmap, rx, file, allow},
			{"another architecture", 0x1234, a.Execve, 0, 0, allow},
		} {
			d := make([]byte, 64)
			binary.LittleEndian.PutUint32(d, c.nr)
			binary.LittleEndian.PutUint32(d[4:], c.arch)
			binary.LittleEndian.PutUint64(d[32:], c.prot)
			binary.LittleEndian.PutUint64(d[40:], c.flags)
			if got := run(t, Program(a), d); got != c.want {
				t.Errorf("%s %s: %#x, want %#x", name, c.what, got, c.want)
			}
		}
	}
}
