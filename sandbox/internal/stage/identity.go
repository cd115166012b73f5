//go:build linux

package stage

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type idMap struct {
	uid, gid  []syscall.SysProcIDMap
	setgroups bool
}

// idMaps lists the mappings to try, best first. Every one maps ids to
// themselves. Root maps all it has, so that the program can change its user as
// outside; anybody else may map only the own uid and gid (user_namespaces(7)).
func idMaps() []idMap {
	own := idMap{
		uid: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		gid: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
	}
	if !Privileged() {
		return []idMap{own}
	}
	all := idMap{uid: identity("/proc/self/uid_map"), gid: identity("/proc/self/gid_map"), setgroups: true}
	if all.uid == nil || all.gid == nil {
		return []idMap{own}
	}
	return []idMap{all, own}
}

// Privileged reports whether this process may map more than its own ids.
func Privileged() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return unix.Capget(&hdr, &d[0]) == nil && d[0].Effective&need == need && os.Geteuid() == 0
}

func identity(path string) []syscall.SysProcIDMap {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var m []syscall.SysProcIDMap
	for line := range strings.Lines(string(b)) {
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err != nil {
			return nil
		}
		m = append(m, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: n})
	}
	return m
}

// Bounding is the capability bounding set of this thread.
func Bounding() uint64 {
	var set uint64
	for c := uintptr(0); c < 64; c++ {
		if v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break
		} else if v == 1 {
			set |= 1 << c
		}
	}
	return set
}
