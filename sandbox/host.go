//go:build linux

package sandbox

import (
	"os"
	"strings"
)

// likeHost are the parameters of the network (ip-sysctl) that programs notice
// and that a new namespace would have by default: how long connections are tried
// and kept, ports and backlogs.
var likeHost = []string{
	"net/core/somaxconn",
	"net/ipv4/ip_default_ttl",
	"net/ipv4/ip_local_port_range",
	"net/ipv4/tcp_fin_timeout",
	"net/ipv4/tcp_keepalive_intvl",
	"net/ipv4/tcp_keepalive_probes",
	"net/ipv4/tcp_keepalive_time",
	"net/ipv4/tcp_retries2",
	"net/ipv4/tcp_syn_retries",
}

// hostSysctls reads likeHost; what cannot be read is left out.
func hostSysctls() map[string]string {
	m := map[string]string{}
	for _, name := range likeHost {
		if b, err := os.ReadFile("/proc/sys/" + name); err == nil {
			m[name] = strings.TrimSpace(string(b))
		}
	}
	return m
}

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
