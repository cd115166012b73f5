//go:build linux

package netd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// Main is the role "netd". It returns the exit status.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clipper:", err)
		return 1
	}
	return 0
}

func run() error {
	var o Options
	if err := natsbus.RoleOptions(&o); err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	// One processor for the loop, one for all else.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(50) // the packets themselves are in buffers that are used again
	// A process group of its own: a stop of the program's job (^Z) must not stop the
	// network of what runs beside it. Not a session: the kernel schedules sessions as
	// groups (sched(7), "autogroup"), and netd in another one than the program halves
	// the requests per second. EPERM: it leads a session.
	if err := unix.Setpgid(0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("netd: setpgid: %w", err)
	}
	raiseLimit()
	closeOnExec(o.TunFD, o.DiagFD, o.PacketFD, o.PageFD, o.ReadyFD, o.LifeFD, o.ListenerFD, o.LoopbackFD, o.RemainsFD)
	ctx, cancel := natsbus.RoleContext()
	defer cancel()
	events := openEvents()
	clear := func() {}
	if o.LifeFD != 0 {
		var err error
		if clear, err = followSpawner(o, func() { events.close() }, cancel); err != nil {
			return err
		}
	} else {
		go func() {
			awaitParent()
			os.Exit(1) // the spawner was killed: the program is dead too
		}()
	}
	if events != nil {
		o.Owner = events.publish
		o.Conditions = events.obey
	}
	err := Run(ctx, o)
	clear()
	return errors.Join(err, events.close())
}

// awaitParent returns when the process that started this one has ended.
func awaitParent() {
	fd, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		select {}
	}
	defer unix.Close(fd)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(fds, -1); n > 0 || err != unix.EINTR {
			return
		}
	}
}
