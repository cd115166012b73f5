// Package seccomp installs the notifying filter and talks to its listener
// (seccomp_unotify(2)).
package seccomp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts the filter on the calling thread, which it locks, and returns
// the listener. killable says whether WAIT_KILLABLE_RECV (Linux 5.19) is in
// force; it is not asked for unless tryKillable.
func Install(tryKillable bool) (fd int, killable bool, err error) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, false, err
	}
	f := Program(Native)
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	flags := []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}
	if tryKillable {
		flags = []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, flags[0]}
	}
	for _, fl := range flags {
		r, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, fl, uintptr(unsafe.Pointer(&prog)))
		if e == 0 {
			return int(r), fl&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0, nil
		}
		err = e
		if e != unix.EINVAL {
			break
		}
	}
	return -1, false, err
}

// Notification is struct seccomp_notif.
type Notification struct {
	ID    uint64
	TID   uint32
	Flags uint32
	NR    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// NotificationSize is the size of Notification, for memory that a caller
// provides.
const NotificationSize = 80

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

type addFD struct {
	ID         uint64
	Flags      uint32
	SrcFD      uint32
	NewFD      uint32
	NewFDFlags uint32
}

const (
	iocRecv    = 0xc0502100
	iocSend    = 0xc0182101
	iocIDValid = 0x40082102
	iocAddFD   = 0x40182103

	addFDSend = 2 // SECCOMP_ADDFD_FLAG_SEND, Linux 5.14
)

func ioctl(fd int, req uintptr, p unsafe.Pointer) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(p))
	if e != 0 {
		return 0, e
	}
	return int(r), nil
}

// Receive takes one notification into n. ENOENT: the task went away meanwhile.
func Receive(fd int, n *Notification) error {
	*n = Notification{}
	_, err := ioctl(fd, iocRecv, unsafe.Pointer(n))
	return err
}

// Continue lets the kernel run the notified system call.
func Continue(fd int, id uint64) error {
	r := response{ID: id, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	_, err := ioctl(fd, iocSend, unsafe.Pointer(&r))
	return err
}

// Fail makes the notified system call return e.
func Fail(fd int, id uint64, e unix.Errno) error {
	r := response{ID: id, Error: -int32(e)}
	_, err := ioctl(fd, iocSend, unsafe.Pointer(&r))
	return err
}

// Valid reports whether the notification was received and still waits for its
// answer.
func Valid(fd int, id uint64) bool {
	_, err := ioctl(fd, iocIDValid, unsafe.Pointer(&id))
	return err == nil
}

// GiveFD installs src in the notifying task and makes its number there the
// result of the system call.
func GiveFD(fd int, id uint64, src int) error {
	a := addFD{ID: id, Flags: addFDSend, SrcFD: uint32(src), NewFDFlags: unix.O_CLOEXEC}
	_, err := ioctl(fd, iocAddFD, unsafe.Pointer(&a))
	if err != unix.EINVAL {
		return err
	}
	a.Flags = 0 // Linux 5.9 to 5.13: in two steps
	n, err := ioctl(fd, iocAddFD, unsafe.Pointer(&a))
	if err != nil {
		return err
	}
	r := response{ID: id, Val: int64(n)}
	_, err = ioctl(fd, iocSend, unsafe.Pointer(&r))
	return err
}
