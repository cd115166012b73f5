//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// resolverSockets are the unix sockets over which the C library asks a cache of
// the host instead of sending DNS packets.
var resolverSockets = []string{
	"/run/nscd/socket",
	"/var/run/nscd/socket",
	"/run/systemd/resolve/io.systemd.Resolve",
	"/run/systemd/resolve/io.systemd.Resolve.Monitor",
}

// coverHostFiles lays files over the host's in this mount namespace: a
// resolv.conf that names netd's forwarder, plain files, on which connect(2) is
// refused, over resolverSockets, and, where ::1 is not the host's (hosts6), a
// hosts file whose localhost is 127.0.0.1. What ssh reads is covered by itself (sshIncludes). The files live in a tmpfs without a place,
// so that nothing is left behind. What the host mounts later still appears
// (user_namespaces: our mounts are slaves of its), but not the other way round.
func coverHostFiles(hosts6 bool) error {
	cover := map[string][]byte{}
	for _, path := range resolverSockets {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			cover[real] = nil
		}
	}
	// The file that a symbolic link leads to is covered, not the link.
	if real, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		b, err := os.ReadFile(real)
		if err != nil {
			return fmt.Errorf("host's resolver configuration: %w", err)
		}
		cover[real] = resolvConf(b)
	}
	if real, err := filepath.EvalSymlinks("/etc/hosts"); err == nil && !hosts6 {
		if b, err := os.ReadFile(real); err == nil {
			if text, changed := localhostIPv4(string(b)); changed {
				cover[real] = []byte(text)
			}
		}
	}
	if os.Geteuid() != 0 {
		for _, path := range sshIncludes("/etc/ssh/ssh_config") {
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				continue
			}
			if b, err := os.ReadFile(real); err == nil {
				cover[real] = b
			}
		}
	}
	return coverFiles(cover)
}

// coverFiles lays files with the given contents over others. They stand in a
// tmpfs that is mounted over /proc for a moment, because no target is there.
func coverFiles(contents map[string][]byte) error {
	const dir = "/proc"
	if len(contents) == 0 {
		return nil
	}
	if err := unix.Mount("clipper", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	n := 0
	for path, b := range contents {
		n++
		file := fmt.Sprintf("%s/%d", dir, n)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
		if err := os.Chmod(file, 0o644); err != nil { // whatever the umask is
			return fmt.Errorf("cover %s: %w", path, err)
		}
		if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
	}
	return nil
}

// resolvConf is the host's resolv.conf with netd's forwarder in place of its
// name servers, one address for each; search domains and options stay.
func resolvConf(host []byte) []byte {
	const maxServers = 3 // MAXNS, resolv.conf(5)
	var servers, rest []byte
	addr, n := subnet.DNS4, 0
	server := func() {
		if n++; n <= maxServers {
			servers = append(servers, "nameserver "+addr.String()+"\n"...)
			addr = addr.Next()
		}
	}
	for line := range strings.Lines(string(host)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			server()
		case "search", "domain", "options", "sortlist":
			rest = append(append(rest, strings.Join(f, " ")...), '\n')
		}
	}
	if n == 0 {
		server()
	}
	return append(servers, rest...)
}
