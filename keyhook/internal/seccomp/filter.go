package seccomp

import "golang.org/x/sys/unix"

// ABI is one architecture's numbers: those of 64-bit programs and those of the
// 32-bit programs that the kernel runs beside them.
type ABI struct {
	Audit, Execve, Execveat, Mmap uint32
	Audit32, Execve32, Execveat32 uint32
}

// The ABIs that Clipper supports.
var (
	AMD64 = ABI{Audit: unix.AUDIT_ARCH_X86_64, Execve: 59, Execveat: 322, Mmap: 9,
		Audit32: unix.AUDIT_ARCH_I386, Execve32: 11, Execveat32: 358}
	ARM64 = ABI{Audit: unix.AUDIT_ARCH_AARCH64, Execve: 221, Execveat: 281, Mmap: 222,
		Audit32: unix.AUDIT_ARCH_ARM, Execve32: 11, Execveat32: 387}
)

// Program is the filter: execve, execveat and file-backed mmap with PROT_EXEC
// notify, all else is allowed. A 32-bit program's execs notify as well (it may
// start a 64-bit one), its maps do not.
func Program(a ABI) []unix.SockFilter {
	const (
		ldw  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K

		// struct seccomp_data; arguments are 64-bit, low word first.
		nr, arch, arg2, arg3 = 0, 4, 16 + 2*8, 16 + 3*8
	)
	return []unix.SockFilter{
		/* 0 */ {Code: ldw, K: arch},
		/* 1 */ {Code: jeq, K: a.Audit, Jf: 9}, // else 11
		/* 2 */ {Code: ldw, K: nr},
		/* 3 */ {Code: jeq, K: a.Mmap, Jt: 3}, // 7
		/* 4 */ {Code: jeq, K: a.Execve, Jt: 11}, // 16
		/* 5 */ {Code: jeq, K: a.Execveat, Jt: 10}, // 16
		/* 6 */ {Code: ret, K: unix.SECCOMP_RET_ALLOW},
		/* 7 */ {Code: ldw, K: arg2}, // prot
		/* 8 */ {Code: jset, K: unix.PROT_EXEC, Jf: 6}, // else 15
		/* 9 */ {Code: ldw, K: arg3}, // flags
		/* 10 */ {Code: jset, K: unix.MAP_ANONYMOUS, Jt: 4, Jf: 5}, // 15, else 16
		/* 11 */ {Code: jeq, K: a.Audit32, Jf: 3}, // else 15
		/* 12 */ {Code: ldw, K: nr},
		/* 13 */ {Code: jeq, K: a.Execve32, Jt: 2}, // 16
		/* 14 */ {Code: jeq, K: a.Execveat32, Jt: 1}, // 16
		/* 15 */ {Code: ret, K: unix.SECCOMP_RET_ALLOW},
		/* 16 */ {Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
	}
}
