package natsbus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrDiskFull says that the disk under the session directory has no room left.
var ErrDiskFull = errors.New("no space left for the session")

func diskFull(dir string) error {
	return fmt.Errorf("%w: less than %d MiB free under %s; free some, or put the session elsewhere", ErrDiskFull, minFreeDisk>>20, dir)
}

// freeBytes is what an unprivileged user may still write under dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("natsbus: free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// lockDir keeps a second server out of dir; the server itself takes no lock.
// The lock ends with the process, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("natsbus: lock store directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("natsbus: store directory %s is in use by another server: %w", dir, err)
	}
	return f, nil
}
