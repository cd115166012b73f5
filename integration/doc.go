// Package integration tests the whole system: the clipper binary, real
// programs, real servers on the host's loopback, real namespaces and a real
// browser. Nothing is mocked. What flows in is a command line; what is
// compared is HAR, DevTools and the terminal on one side and what the servers
// logged on the other.
package integration
