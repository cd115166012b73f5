package inject

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/scan"
)

// A Java runtime that was made without the module java.instrument (jlink) does
// not start with an agent. What tells is its libjvm.so: when that is mapped,
// the agent is taken out of the environment again, which it reads a little later.

// javaVM is the soname.
const javaVM = "libjvm.so"

var noInstrument = reason{"The Java runtime was made without the module java.instrument, and takes no agent.", "A runtime with the module java.instrument can be read."}

// keepAgentOut takes our agent from a task that maps the VM of descriptor fd, if
// the runtime has no room for it.
func (s *Supervisor) keepAgentOut(tid int, fd int32) {
	if s.JavaAgent == "" {
		return
	}
	vm := readlink(procPath(tid, "fd", strconv.Itoa(int(fd))))
	lib := filepath.Join(procPath(tid, "root"), filepath.Dir(filepath.Dir(vm)), "libinstrument.so")
	if _, err := os.Stat(lib); vm == "" || !os.IsNotExist(err) {
		return
	}
	taken, err := eraseEnvironment(tid, s.JavaAgent)
	if err != nil {
		s.logf("%d: take the agent out of its environment: %v", tid, err)
	}
	if taken {
		e := impossible(&scan.Result{Library: "jsse"}, noInstrument)
		s.hookEvent(tid, e)
	}
}

// eraseEnvironment overwrites a text in the environment that a process was
// started with by blanks.
func eraseEnvironment(pid int, text string) (bool, error) {
	start, end, ok := environment(pid)
	if !ok {
		return false, unix.ESRCH
	}
	mem, err := openMemory(pid)
	if err != nil {
		return false, err
	}
	defer mem.Close()
	b := make([]byte, min(end-start, maxEnvironment))
	n, err := mem.ReadAt(b, int64(start))
	i := bytes.Index(b[:n], []byte(text))
	if i < 0 {
		return false, err
	}
	_, err = mem.WriteAt([]byte(strings.Repeat(" ", len(text))), int64(start)+int64(i))
	return err == nil, err
}

// maxEnvironment is the kernel's limit of arguments and environment together.
const maxEnvironment = 6 << 20

// environment is where the environment of a process was put at its exec
// (env_start and env_end of proc_pid_stat(5)).
func environment(pid int) (start, end uint64, ok bool) {
	f := statFields(pid)
	if len(f) < 50 {
		return 0, 0, false
	}
	start, err1 := strconv.ParseUint(f[47], 10, 64)
	end, err2 := strconv.ParseUint(f[48], 10, 64)
	return start, end, err1 == nil && err2 == nil && start < end
}
