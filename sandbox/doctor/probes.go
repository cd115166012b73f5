//go:build linux

package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// Probes lists every probe, the necessary ones first.
var Probes = []Probe{
	{
		Name: "user-namespaces", Title: "unprivileged user namespaces", Kernel: "3.8", Needed: true,
		Breaks: "clipper up cannot make the namespaces that a program runs in",
		Run:    probeUserNamespaces,
	}, {
		Name: "tun", Title: "tun device", Kernel: "2.4", Needed: true,
		Breaks: "the sandbox has no network device",
		Run:    probeTun,
	}, {
		Name: "packet-ring", Title: "packet socket with a TPACKET_V3 ring", Kernel: "3.2", Needed: true,
		Breaks: "packets cannot be captured",
		Run:    probePacketRing,
	}, {
		Name: "seccomp-notify", Title: "seccomp user notification", Kernel: "5.5",
		Breaks: "TLS secrets come only from programs that honour SSLKEYLOGFILE",
		Run:    probeSeccompNotify,
	}, {
		Name: "ptrace", Title: "ptrace of the own programs", Kernel: "4.8",
		Breaks: "TLS secrets come only from programs that honour SSLKEYLOGFILE",
		Run:    probePtrace,
	}, {
		Name: "ipv6", Title: "IPv6 of the host", Kernel: "2.2",
		Breaks: "programs see only IPv4, as outside",
		Run:    probeIPv6,
	}, {
		Name: "ping", Title: "ICMP echo to the outside", Kernel: "3.0",
		Breaks: "ping to other machines gets no answer inside (to localhost and the gateway it does)",
		Run:    probePing,
	}, {
		Name: "memory-lock", Title: "memory-lock limit", Kernel: "2.6",
		Breaks: "nothing: the packet ring is not counted against it",
		Run:    probeMemoryLock,
	}, {
		Name: "open-files", Title: "limit of open files", Kernel: "1.3",
		Breaks: "a command with more connections than that sees some wait for others to end: each takes a file of Clipper's, too",
		Run:    probeOpenFiles,
	}, {
		Name: "container", Title: "outside of a container", Kernel: "",
		Breaks: "the container's own seccomp profile or read-only /proc/sys may restrict the sandbox",
		Run:    probeContainer,
	},
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (o Options) exe() string {
	if o.Exe != "" {
		return o.Exe
	}
	if exe, err := os.Executable(); err == nil {
		return exe
	}
	return "clipper"
}

func (o Options) tun() string {
	if o.TunPath != "" {
		return o.TunPath
	}
	if p := os.Getenv("CLIPPER_TUN"); p != "" {
		return p
	}
	return defaultTun
}

const defaultTun = "/dev/net/tun"

// enter makes namespaces as for a program, and has stage 1 use them: on a
// system with AppArmor's restriction clone(2) succeeds and the first use fails.
func enter(o Options) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := stage.Spawn(o.Role, &stage.Config{Probe: true}, [3]*os.File{null, null, null})
	if err != nil {
		return err
	}
	r, files, err := p.Receive()
	for _, f := range files {
		f.Close()
	}
	p.CloseControl()
	<-p.Done()
	p.Close()
	if err != nil {
		return fmt.Errorf("stage 1 did not answer: %w", err)
	}
	if r.Failure != nil {
		return r.Failure
	}
	return nil
}

func probeUserNamespaces(o Options) (Status, string, string) {
	err := enter(o)
	if f, ok := errors.AsType[*stage.Failure](err); err == nil || ok && f.Step == stage.StepPacket {
		return OK, "", ""
	}
	detail, fix := userNamespaceCause(o)
	if detail == "" {
		return Missing, err.Error(), fix
	}
	return Missing, detail + ": " + err.Error(), fix
}

// userNamespaceCause names the setting that most likely forbids them.
func userNamespaceCause(o Options) (detail, fix string) {
	switch {
	case readLine("/proc/sys/user/max_user_namespaces") == "0":
		return "user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"
	case readLine("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case readLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor restricts unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns)",
			"a profile for this binary: " + appArmorCommand(o.exe())
	case !exists("/proc/self/ns/user"):
		return "this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS"
	case container() != "":
		return "inside a container (" + container() + "), whose seccomp profile forbids namespaces",
			"start the container with --security-opt seccomp=unconfined --device /dev/net/tun"
	}
	return "", "allow this user to create namespaces (see user_namespaces(7))"
}

// AppArmorProfile lets one executable, and no other, make user namespaces.
func AppArmorProfile(exe string) string {
	return "abi <abi/4.0>,\ninclude <tunables/global>\nprofile clipper " + quoteProfile(exe) + " flags=(unconfined) {\n  userns,\n}\n"
}

func quoteProfile(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

func appArmorCommand(exe string) string {
	return "printf '%s' '" + strings.ReplaceAll(AppArmorProfile(exe), "'", `'\''`) + "' | sudo tee /etc/apparmor.d/clipper >/dev/null && sudo apparmor_parser -r /etc/apparmor.d/clipper"
}

func probeTun(o Options) (Status, string, string) {
	path := o.tun()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		// Answered by every tun clone device, attached or not.
		if _, err := unix.IoctlGetInt(fd, unix.TUNGETFEATURES); err != nil {
			return Missing, path + " is not a tun device", "unset CLIPPER_TUN"
		}
		return OK, path, ""
	}
	detail := fmt.Sprintf("open %s: %v", path, err)
	switch err {
	case unix.ENOENT:
		if container() != "" && path == defaultTun {
			return Missing, detail, "start the container with --device /dev/net/tun"
		}
		return Missing, detail, fmt.Sprintf("sudo modprobe tun; test -e %[1]s || sudo sh -c 'mkdir -p %[2]s && mknod -m 0666 %[1]s c 10 200'", path, dirOf(path))
	case unix.ENODEV, unix.ENXIO:
		return Missing, detail, "sudo modprobe tun"
	case unix.EACCES, unix.EPERM:
		return Missing, detail, "sudo chmod 0666 " + path
	}
	return Missing, detail, "make " + path + " usable"
}

func dirOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

func probePacketRing(o Options) (Status, string, string) {
	f, ok := errors.AsType[*stage.Failure](enter(o))
	if !ok || f.Step != stage.StepPacket {
		return OK, "", "" // or another probe tells what is missing
	}
	if f.Errno == int(unix.EAFNOSUPPORT) {
		return Missing, f.Error(), "sudo modprobe af_packet"
	}
	return Missing, f.Error(), "use Linux 3.2 or later, with CONFIG_PACKET"
}

func probeSeccompNotify(Options) (Status, string, string) {
	const getActionAvail, getNotifSizes, newListener, waitKillable = 2, 3, 1 << 3, 1 << 5
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&action))); e != 0 {
		if e == unix.EPERM {
			return Missing, "seccomp(2) is forbidden here", "start the container with --security-opt seccomp=unconfined"
		}
		return Missing, "seccomp user notification: " + e.Error(), "use Linux 5.5 or later"
	}
	var sizes [3]uint16
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, getNotifSizes, 0, uintptr(unsafe.Pointer(&sizes))); e != 0 {
		return Missing, "seccomp user notification: " + e.Error(), "use Linux 5.5 or later"
	}
	if v := kernel(); v < 505 {
		return Missing, "this kernel cannot continue a notified system call", "use Linux 5.5 or later"
	}
	// Without a filter: EFAULT if the flags are known, EINVAL if not.
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, newListener|waitKillable, 0); e == unix.EINVAL {
		return Limited, "without WAIT_KILLABLE_RECV: a signal may repeat a notified system call", "use Linux 5.19 or later"
	}
	return OK, "", ""
}

func kernel() int {
	var u unix.Utsname
	unix.Uname(&u)
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return major*100 + minor
}

func probePtrace(Options) (Status, string, string) {
	switch scope := readLine("/proc/sys/kernel/yama/ptrace_scope"); scope {
	case "3":
		return Missing, "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot", "set kernel.yama.ptrace_scope to 1 in /etc/sysctl.d and reboot"
	case "", "0", "1", "2":
		// Who owns the user namespace may trace in it, 1 and 2 included.
		return OK, "", ""
	default:
		return Limited, "kernel.yama.ptrace_scope is " + scope, "sudo sysctl -w kernel.yama.ptrace_scope=1"
	}
}

func probeIPv6(Options) (Status, string, string) {
	switch {
	case !exists("/proc/net/if_inet6"):
		return Limited, "this kernel has no IPv6", "boot without ipv6.disable=1"
	case readLine("/proc/sys/net/ipv6/conf/all/disable_ipv6") == "1":
		return Limited, "net.ipv6.conf.all.disable_ipv6 is 1", "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0"
	}
	return OK, "", ""
}

func probePing(Options) (Status, string, string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return Limited, "net.ipv4.ping_group_range is " + strings.Join(strings.Fields(readLine("/proc/sys/net/ipv4/ping_group_range")), " "),
			`sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"`
	}
	unix.Close(fd)
	return OK, "", ""
}

func probeMemoryLock(Options) (Status, string, string) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
		return OK, err.Error(), ""
	}
	if l.Cur == unix.RLIM_INFINITY {
		return OK, "unlimited", ""
	}
	return OK, fmt.Sprintf("%d KiB", l.Cur>>10), ""
}

func probeOpenFiles(Options) (Status, string, string) {
	const few = 4096
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return OK, err.Error(), ""
	}
	detail := fmt.Sprint(l.Max)
	if l.Max < few {
		return Limited, detail, "raise the hard limit: ulimit -Hn 65536 as root, or nofile in /etc/security/limits.conf"
	}
	return OK, detail, ""
}

func probeContainer(Options) (Status, string, string) {
	c := container()
	if c == "" {
		return OK, "", ""
	}
	return Limited, "inside " + c, "if something else is missing: --security-opt seccomp=unconfined --device /dev/net/tun"
}

// container names the container manager, "" if there seems to be none.
func container() string {
	switch {
	case exists("/.dockerenv"):
		return "docker"
	case exists("/run/.containerenv"):
		return "podman"
	}
	if c := readLine("/run/systemd/container"); c != "" {
		return c
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return "kubernetes"
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
