//go:build linux

package netd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"clipper/sandbox/internal/subnet"
)

const dnsPort = 53

// resolvers are the name servers of the host. The addresses from 10.0.2.3
// upwards stand for them one by one, so that the program's resolver treats them
// as it would outside.
type resolvers struct {
	path string // resolv.conf; "" when they were given

	mu      sync.Mutex
	list    []netip.AddrPort
	changed time.Time // modification time of path as of list
	asked   time.Time // last look at path
}

const resolvConfPath = "/etc/resolv.conf"

// newResolvers takes given servers, as address or address:port, or else follows
// resolv.conf.
func newResolvers(given []string) (*resolvers, error) {
	if len(given) == 0 {
		return &resolvers{path: resolvConfPath}, nil
	}
	r := &resolvers{}
	for _, s := range given {
		if a, err := netip.ParseAddr(s); err == nil {
			r.list = append(r.list, netip.AddrPortFrom(a, dnsPort))
			continue
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			return nil, fmt.Errorf("netd: name server %q: address or address:port", s)
		}
		r.list = append(r.list, a)
	}
	return r, nil
}

// at returns the server that an address of the sandbox stands for.
func (r *resolvers) at(a netip.Addr) (netip.AddrPort, bool) {
	first := subnet.DNS4
	if a.Is6() {
		first = subnet.DNS6
	}
	i := 0
	for ; i < maxResolvers && first != a; i++ {
		first = first.Next()
	}
	if i == maxResolvers {
		return netip.AddrPort{}, false
	}
	list := r.current()
	return list[min(i, len(list)-1)], true
}

// maxResolvers is MAXNS of resolv.conf(5).
const maxResolvers = 3

// current is the list, never empty. It looks at the file once a second at most.
func (r *resolvers) current() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.path != "" && now.Sub(r.asked) >= time.Second {
		r.asked = now
		if st, err := os.Stat(r.path); err != nil {
			r.list = nil
		} else if !st.ModTime().Equal(r.changed) {
			b, _ := os.ReadFile(r.path)
			r.list, r.changed = nameServers(string(b)), st.ModTime()
		}
	}
	if len(r.list) == 0 {
		// What a resolver without configuration asks, resolv.conf(5).
		return []netip.AddrPort{netip.AddrPortFrom(subnet.Local4, dnsPort)}
	}
	return r.list
}

// nameServers reads the servers of a resolv.conf.
func nameServers(conf string) []netip.AddrPort {
	var list []netip.AddrPort
	for line := range strings.Lines(conf) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			list = append(list, netip.AddrPortFrom(a.Unmap(), dnsPort))
		}
	}
	return list
}

// zone is the interface index of a link-local address.
func zone(a netip.Addr) uint32 {
	z := a.Zone()
	if z == "" {
		return 0
	}
	if i, err := net.InterfaceByName(z); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(z, 10, 32)
	return uint32(n)
}
