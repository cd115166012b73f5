// Package netd is the network of a sandbox: a userspace NAT between the tun
// device of its namespace and ordinary sockets of the host. IP packets go in
// and out at the tun; no privilege is used on the host side.
//
// Seen from inside: 10.0.2.2 is the host's 127.0.0.1; 127.0.0.0/8 and ::1 are the
// host's too, except for ports that a program inside listens on; 10.0.2.3 port 53
// forwards to the host's resolvers; everything else is the world as the host
// sees it. A connection is accepted only after the host's kernel connected, so
// refusals and time-outs are exact.
//
// One thread moves all TCP, between the tun and sockets that it is told about by
// epoll: see loop. The program's kernel is a peer a memory copy away, so the TCP
// towards it (clipper/sandbox/internal/tcp) needs little. UDP and ICMP have a
// goroutine for each socket of the host.
package netd
