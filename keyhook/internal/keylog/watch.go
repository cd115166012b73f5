package keylog

import "golang.org/x/sys/unix"

// Watch calls changed after writes to the files, until the returned function
// is called. Files that do not exist yet are not watched, and where the kernel
// has no inotify left none is: the reader looks now and then by itself.
func Watch(files []File, changed func()) (stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return func() {}
	}
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return func() {}
	}
	for _, f := range files {
		unix.InotifyAddWatch(fd, f.Path, unix.IN_MODIFY)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		events := make([]byte, 4096)
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(p, -1); err == unix.EINTR {
				continue
			} else if err != nil || p[1].Revents != 0 {
				return
			}
			unix.Read(fd, events)
			changed()
		}
	}()
	return func() {
		unix.Write(end, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		<-done
		unix.Close(fd)
		unix.Close(end)
	}
}
