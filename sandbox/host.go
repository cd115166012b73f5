//go:build linux

package sandbox

import (
	"os"
	"strings"
)

// HostIPv6 reports whether the host reaches the world over IPv6: whether it has
// a default route.
func HostIPv6() bool {
	// proc_net(5): destination, its prefix length, source, its prefix length,
	// next hop, metric, reference count, use count, flags, device.
	b, err := os.ReadFile("/proc/net/ipv6_route")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[9] != "lo" {
			return true
		}
	}
	return false
}
