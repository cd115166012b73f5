//go:build linux

package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// backlogShare is the part of the memory that a backlog may take, should it ever be full.
const backlogShare = 8

// Room is how large a backlog this machine has room for, in bytes: a share of
// the memory that is available, and of what the control groups and resource
// limits of this process leave it.
func Room() int64 {
	room := int64(MaxBacklog)
	bound := func(n int64, ok bool) {
		if ok && n >= 0 {
			room = min(room, n/backlogShare)
		}
	}
	bound(available("/proc/meminfo"))
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for _, file := range limitFiles(string(groups)) {
		b, _ := os.ReadFile(file)
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // or "max"
		bound(n, err == nil)
	}
	for _, resource := range []int{unix.RLIMIT_FSIZE, unix.RLIMIT_AS} {
		var l unix.Rlimit
		err := unix.Getrlimit(resource, &l)
		bound(int64(l.Cur), err == nil) // none is -1
	}
	return room
}

// available is what a program can take without swapping (proc(5)), in bytes.
func available(meminfo string) (int64, bool) {
	b, _ := os.ReadFile(meminfo)
	_, after, ok := strings.Cut(string(b), "MemAvailable:")
	if !ok {
		return 0, false
	}
	var kib int64
	_, err := fmt.Sscan(after, &kib)
	return kib << 10, err == nil
}

// limitFiles are the files with the memory limits of the groups in
// /proc/self/cgroup (cgroups(7)) and of those above, of both versions. In a container, which
// sees its own group at the root, the path may lead nowhere.
func limitFiles(groups string) (files []string) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root, limit := "/sys/fs/cgroup", "memory.max"
		switch {
		case f[1] == "memory":
			root, limit = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case f[1] != "":
			continue
		}
		for group := filepath.Join("/", f[2]); ; group = filepath.Dir(group) {
			files = append(files, filepath.Join(root, group, limit))
			if group == "/" {
				break
			}
		}
	}
	return files
}
