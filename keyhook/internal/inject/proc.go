package inject

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// statusField reads a number from /proc/TID/status.
func statusField(tid int, name string) (int, bool) {
	b, err := os.ReadFile(procPath(tid, "status"))
	if err != nil {
		return 0, false
	}
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
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return nil
	}
	// The name in parentheses may hold anything.
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// maxCommand bounds the argument list in an event.
const maxCommand = 16 << 10

func commandLine(pid int) []string {
	f, err := os.Open(procPath(pid, "cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, maxCommand)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	if n == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
}
