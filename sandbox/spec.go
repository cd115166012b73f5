//go:build linux

package sandbox

import "os"

// Spec says what to run and how.
type Spec struct {
	Argv []string // the command; Argv[0] is looked up in PATH of Env as a shell does
	Env  []string // nil: the environment of the caller

	// Role is the argv with which this executable, run again, calls Stage1.
	// Default: "clipper", "stage1".
	Role []string

	// TunPath is the device to clone. Default: $CLIPPER_TUN, else /dev/net/tun.
	TunPath string
	MTU     int  // of the tun, in bytes, 1280 to 65520 (the default)
	NoIPv6  bool // otherwise the sandbox has IPv6 if the host has
	// OwnLoopback6: ::1 is the sandbox's own, as on kernels that cannot bring the
	// host's inside; otherwise it is the host's.
	OwnLoopback6 bool
	Hook         bool // install the seccomp filter: Listener is set
	// KillAll puts the program into a PID namespace: when it ends, everything
	// that it started is killed. Its process ids are then others than outside.
	KillAll bool

	// Stdin, Stdout and Stderr of the program; nil: those of the caller.
	Stdin, Stdout, Stderr *os.File
}
