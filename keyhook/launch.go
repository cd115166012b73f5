package keyhook

import (
	"errors"
	"fmt"
	"os"

	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// run installs the filter, hands the listener over, waits until it is served
// and becomes the program. It returns only with an error.
func (l *launch) run() error {
	fd, killable, err := install(!l.Old)
	if err != nil {
		return err
	}
	mode := []byte{0}
	if killable {
		mode[0] = 1
	}
	if err := unix.Sendmsg(l.SocketFD, mode, unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("keyhook: pass the listener: %w", err)
	}
	unix.Close(fd)
	var ready [1]byte
	if n, err := unix.Read(l.SocketFD, ready[:]); n != 1 {
		return fmt.Errorf("keyhook: the supervisor went away: %w", err)
	}
	unix.Close(l.SocketFD)
	os.Unsetenv(natsbus.OptionsEnv)
	return fmt.Errorf("keyhook: run %s: %w", l.Path, unix.Exec(l.Path, l.Argv, os.Environ()))
}

// launchStatus is the exit status for a program that cannot be run.
func launchStatus(err error) int {
	switch {
	case errors.Is(err, unix.ENOENT):
		return 127
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC):
		return 126
	}
	return 125
}

// receiveListener takes what launch.run sends.
func receiveListener(socket int) (fd int, killable bool, err error) {
	var b [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, on, _, _, err := unix.Recvmsg(socket, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, false, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || n < 1 || len(messages) == 0 {
		return -1, false, errors.New("it ended before it had a seccomp filter")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, false, errors.New("no descriptor came")
	}
	return fds[0], b[0] == 1, nil
}
