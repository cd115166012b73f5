package inject

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/scan"
	"clipper/keyhook/internal/seccomp"
)

// lookExec looks ahead: will this exec certainly fail, or run a program
// without anything to hook? The answer can be wrong only if the app changes
// the path or the file behind our back, and then costs no more than its keys.
func (s *Supervisor) lookExec(n seccomp.Notification) func() {
	pid := int(n.TID)
	dance := func() func() { return func() { s.dance(n, nil) } }
	native := n.Arch == seccomp.Native.Audit
	arg, argv, dir := n.Args[0], n.Args[1], int32(unix.AT_FDCWD)
	if native && uint32(n.NR) == seccomp.Native.Execveat {
		if n.Args[4] != 0 { // AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
			return dance()
		}
		arg, argv, dir = n.Args[1], n.Args[2], int32(n.Args[0])
	}
	if !native {
		return dance()
	}
	path, ok := readString(pid, arg)
	if !ok || path == "" {
		return dance()
	}
	fd, gone := openProgram(pid, dir, path)
	if gone {
		return nil
	}
	if fd < 0 {
		return dance()
	}
	file := "/proc/self/fd/" + strconv.Itoa(fd)
	key, _ := statKey(file)
	x := &execution{tid: pid, key: key, argv: readArgv(pid, argv), exe: readlink(file)}
	res, known := s.cache.lookup(file)
	if known {
		unix.Close(fd)
		return s.afterLook(n, x, res)
	}
	return func() {
		go func() {
			res := s.cache.search(file, searchLimit)
			unix.Close(fd)
			s.afterLook(n, x, res)()
		}()
	}
}

func (s *Supervisor) afterLook(n seccomp.Notification, x *execution, res *scan.Result) func() {
	if res == nil || res.Hookable() {
		return func() { s.dance(n, nil) }
	}
	return func() {
		x.prepare()
		s.answer(n.ID)
		x.res = res
		s.tracker.expect(x)
	}
}

// maxInterpreters is the kernel's limit of #! after #!.
const maxInterpreters = 5

// openProgram opens (O_PATH) the ELF file that an exec of path will run,
// through #! lines. gone: the exec will fail, there is no such file; fd < 0:
// cannot tell.
func openProgram(pid int, dir int32, path string) (fd int, gone bool) {
	for range maxInterpreters {
		fd, err := openAs(pid, dir, path)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return -1, true
		}
		if err != nil {
			return -1, false
		}
		head := readHead(fd)
		if bytes.HasPrefix(head, []byte("\x7fELF")) {
			return fd, false
		}
		unix.Close(fd)
		if !bytes.HasPrefix(head, []byte("#!")) {
			return -1, false // binfmt_misc, not readable, or no program at all
		}
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		w := bytes.Fields(line)
		if len(w) == 0 {
			return -1, false
		}
		path = string(w[0])
	}
	return -1, false
}

// readHead reads the first bytes of the file behind an O_PATH descriptor, if
// it is a regular one (opening a device or FIFO could block or act).
func readHead(fd int) []byte {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	f, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(f)
	var head [256]byte
	n, err := unix.Pread(f, head[:], 0)
	if err != nil {
		return nil
	}
	return head[:n]
}

// openAs opens a path as the task would: from its root, its working directory
// or the given descriptor.
func openAs(pid int, dir int32, path string) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	base := procPath(pid, "root")
	var theirs, ours unix.Stat_t
	if unix.Stat(base, &theirs) != nil || unix.Stat("/", &ours) != nil {
		return -1, unix.EINVAL
	}
	ns := readlink(procPath(pid, "ns/mnt"))
	same := theirs.Dev == ours.Dev && theirs.Ino == ours.Ino && ns != "" && ns == readlink("/proc/thread-self/ns/mnt")
	switch {
	case bytes.HasPrefix([]byte(path), []byte("/proc/")): // self and fd mean someone else here
		return -1, unix.EINVAL
	case path[0] == '/' && same:
		base = "/"
	case path[0] == '/':
		how.Resolve = unix.RESOLVE_IN_ROOT
	case !same:
		return -1, unix.EINVAL // .. must not leave its root
	case dir == unix.AT_FDCWD:
		base = procPath(pid, "cwd")
	default:
		base = procPath(pid, "fd", strconv.Itoa(int(dir)))
	}
	b, err := unix.Open(base, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, unix.EINVAL
	}
	defer unix.Close(b)
	return unix.Openat2(b, path, how)
}
