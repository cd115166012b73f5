//go:build linux

package sandbox

import (
	"net/netip"
	"slices"
	"strings"
)

// localhostIPv4 is the host's /etc/hosts (hosts(5)) in which names of ::1 that
// are names of 127.0.0.0/8 too, as "localhost" is, mean only the latter.
//
// It is for kernels on which the host's ::1 cannot be brought inside (see
// routeLocalnet6). What listens on it is reached there as 127.0.0.1, and a program
// that resolves a name should find it there at once, whether or not it tries one
// address after the other. changed is false if there was nothing to do.
func localhostIPv4(hosts string) (text string, changed bool) {
	var local []string
	for line := range strings.Lines(hosts) {
		if addr, names := hostsLine(line); addr.IsLoopback() && addr.Is4() {
			local = append(local, names...)
		}
	}
	var b strings.Builder
	for line := range strings.Lines(hosts) {
		addr, names := hostsLine(line)
		if addr == netip.IPv6Loopback() {
			keep := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(local, n) })
			if len(keep) < len(names) {
				changed = true
				if len(keep) == 0 {
					continue
				}
				line = addr.String() + "\t" + strings.Join(keep, " ") + "\n"
			}
		}
		b.WriteString(line)
	}
	return b.String(), changed
}

func hostsLine(line string) (addr netip.Addr, names []string) {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) < 2 {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(f[0])
	if err != nil {
		return netip.Addr{}, nil
	}
	return addr, f[1:]
}
