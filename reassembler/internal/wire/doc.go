// Package wire finds the transport segment in a captured link-layer frame: it
// walks link headers, tags, tunnels and IP headers down to the innermost TCP,
// UDP or ICMP. It allocates nothing; results alias the frame. Checksums are
// not looked at: on a sending host they are filled in after the capture point.
package wire
