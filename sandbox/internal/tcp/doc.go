// Package tcp is the end of a TCP connection (RFC 9293) whose other end is a
// kernel on the same machine, across a link that keeps order and hardly ever
// loses: a tun device. So it has flow control and retransmission, but neither
// congestion control nor a queue for segments that come out of order.
//
// It does no I/O and knows no clock: segments and times go in, segments come out
// at a Link.
package tcp
