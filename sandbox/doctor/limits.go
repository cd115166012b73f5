//go:build linux

package doctor

// Limits lists what cannot work in an unprivileged namespace, however the
// machine is set up.
var Limits = []string{
	"setuid programs and file capabilities gain nothing: sudo, su, mount",
	"files of other users appear as nobody's; a program that insists on root's ownership refuses them",
	"raw sockets, packet sockets, multicast and broadcast to the host's network, and protocols other than TCP, UDP and ICMP echo",
	"the host's own addresses cannot be bound, nor its interfaces seen (SO_BINDTODEVICE, lo included); connections from outside come by -p",
	"unix sockets in the abstract namespace are the sandbox's own; those with a path are the host's, and what goes through them (docker, D-Bus) is not seen",
	"keep-alive intervals, TCP_USER_TIMEOUT, TOS and, for TCP, TTL of the program act on its side of the network only; urgent data comes as ordinary bytes",
	"signals that the caller blocks or ignores (nohup's SIGHUP and SIGINT excepted) are neither blocked nor ignored in the program",
	"a program that wants a seccomp listener of its own, or that is being traced from its start, is not hooked",
}
