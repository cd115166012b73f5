package inject

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readProc reads at most max bytes of a file in /proc/PID. Not by os.File,
// which takes several times as long: it asks whether the file can be polled.
func readProc(pid int, name string, max uint64) ([]byte, error) {
	fd, err := unix.Open(procPath(pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, min(4096, max))
	for uint64(len(b)) < max {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if b = b[:len(b)+n]; len(b) == cap(b) {
			b = slices.Grow(b, len(b))
			b = b[:len(b):min(uint64(cap(b)), max)]
		}
	}
	return b, nil
}

const maxStatus = 1 << 20 // it lists the groups

// statusField reads a number from /proc/TID/status.
func statusField(tid int, name string) (int, bool) {
	b, err := readProc(tid, "status", maxStatus)
	if err != nil {
		return 0, false
	}
	return field(b, name)
}

// field finds a number in a /proc/TID/status.
func field(b []byte, name string) (int, bool) {
	_, rest, ok := bytes.Cut(b, []byte("\n"+name+":"))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) == 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(f[0]))
	return n, err == nil
}

// threadGroup is the process that a thread belongs to; tid itself if that
// cannot be told any more.
func threadGroup(tid int) int {
	if n, ok := statusField(tid, "Tgid"); ok {
		return n
	}
	return tid
}

// stat reads the parent and the start time (clock ticks since boot) of a
// process (proc_pid_stat(5)).
func stat(pid int) (parent int, start uint64, ok bool) {
	f := statFields(pid)
	if len(f) < 20 {
		return 0, 0, false
	}
	parent, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	return parent, start, err1 == nil && err2 == nil
}

// statFields are the fields of /proc/PID/stat behind the second.
func statFields(pid int) []string {
	b, err := readProc(pid, "stat", pageSize)
	if err != nil {
		return nil
	}
	// The name in parentheses may hold anything.
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// maxCommand bounds the argument list in an event.
const maxCommand = 16 << 10

func commandLine(pid int) []string {
	b, _ := readProc(pid, "cmdline", maxCommand)
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
