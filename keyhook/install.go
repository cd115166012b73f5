package keyhook

import (
	"fmt"

	"clipper/keyhook/internal/seccomp"
)

// Install puts the notifying filter on the calling thread, which it locks: the
// caller passes the listener to the spawner, waits until a supervisor serves
// it and becomes the app by an exec on this same thread (that exec is notified
// already). It sets NO_NEW_PRIVS.
//
// killable says whether the kernel granted WAIT_KILLABLE_RECV (Linux 5.19); it
// belongs into Options. Linux 5.5 or later is needed.
func Install() (listenerFD int, killable bool, err error) { return install(true) }

func install(tryKillable bool) (listenerFD int, killable bool, err error) {
	fd, killable, err := seccomp.Install(tryKillable)
	if err != nil {
		return -1, false, fmt.Errorf("keyhook: seccomp filter with user notification (Linux 5.5 or later): %w", err)
	}
	return fd, killable, nil
}
