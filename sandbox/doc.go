// Package sandbox runs a program, unmodified and without privilege, in
// namespaces of its own: user (the caller's own uid and gid, mapped to
// themselves), network and mount. It is the side of the spawner (Start) and the
// first code inside (Stage1), which turns into the program by execve.
//
// What flows out of it are descriptors, the whole contract with the sandbox:
// the tun device and the sock_diag socket for package netd, the packet socket
// for package capture, and the seccomp listener for the key hook. After the
// exec no code of Clipper is left inside.
//
// The order of things:
//
//	sb, err := sandbox.Start(spec) // namespaces stand, the program waits
//	...                            // capture.Setup(sb.Packet), start netd, capture, keyhook
//	err = sb.Release()             // the program runs
//	code, err := sb.Wait()
//	sb.Close()
package sandbox
