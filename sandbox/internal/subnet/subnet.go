// Package subnet is the address plan of a sandbox.
package subnet

import "net/netip"

// Addresses. The IPv4 ones are those that QEMU's user networking uses, which
// slirp4netns kept too. The IPv6 ones are of the prefix for local translation
// (RFC 8215): with unique local ones programs would prefer IPv4 where they prefer
// IPv6 outside (RFC 6724, section 2.1).
var (
	App4     = netip.MustParsePrefix("10.0.2.100/24")
	Gateway4 = netip.MustParseAddr("10.0.2.2") // the host's 127.0.0.1
	DNS4     = netip.MustParseAddr("10.0.2.3") // port 53: the host's resolvers
	App6     = netip.MustParsePrefix("64:ff9b:1:c11b::100/64")
	Gateway6 = netip.MustParseAddr("64:ff9b:1:c11b::2") // the host's ::1
	DNS6     = netip.MustParseAddr("64:ff9b:1:c11b::3")

	Default4  = netip.MustParsePrefix("0.0.0.0/0")
	Default6  = netip.MustParsePrefix("::/0")
	Loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	Loopback6 = netip.MustParsePrefix("::1/128")
	Local4    = netip.MustParseAddr("127.0.0.1")
	Local6    = netip.IPv6Loopback()
)

// Device is the name of the tun in the sandbox.
const Device = "tun0"

// LoIndex is the interface index of lo in every network namespace.
const LoIndex = 1
