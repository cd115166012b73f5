package natsbus

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"clipper/bus"
)

// smallDisk mounts a file system of n bytes.
func smallDisk(t *testing.T, n string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+n); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return filepath.Join(dir, "js")
}

// A disk that fills up, whoever fills it: the server says so, writers end with
// an error instead of hanging.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("by the session", func(t *testing.T) { t.Parallel(); testDiskFull(t, false) })
	t.Run("by others", func(t *testing.T) { t.Parallel(); testDiskFull(t, true) })
}

func testDiskFull(t *testing.T, others bool) {
	dir := smallDisk(t, "64m")
	told := make(chan error, 2)
	s := startServer(t, func(c *ServerConfig) {
		c.StoreDir, c.StreamBytes = dir, 1<<30
		c.Log = c.Log.Level(zerolog.Disabled) // the server's complaints are expected
		c.OnError = func(err error) { told <- err }
	})
	p := openPublisher(t, connect(t, s.Access(), "source"), bus.Frames, 0)
	done := make(chan error, 1)
	go func() {
		for n := 1; ; n++ {
			if err := p.Publish(t.Context(), frame(n, 8000)); err != nil {
				done <- err
				return
			}
		}
	}()
	if others {
		f, err := os.Create(filepath.Join(filepath.Dir(dir), "other"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, 1<<16))
		}
		f.Close()
	}
	select {
	case err := <-told:
		if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), dir) || !errors.Is(s.Err(), ErrDiskFull) {
			t.Errorf("told %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the server said nothing")
	}
	select {
	case err := <-done:
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("the publisher ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the publisher hangs")
	}
}

func TestDiskFullAtStart(t *testing.T) {
	dir := smallDisk(t, "4m")
	_, err := StartServer(ServerConfig{StoreDir: dir, Session: "t1"})
	if !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
}

func TestStoreDirectory(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	os.Mkdir(open, 0o755)
	if _, err := StartServer(ServerConfig{StoreDir: open, Session: "t1"}); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("a directory that others may read: %v", err)
	}
	s := startServer(t)
	if _, err := StartServer(ServerConfig{StoreDir: s.cfg.StoreDir, Session: "t1"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a directory in use: %v", err)
	}
	for _, id := range []string{"", "A", "a.b", "a*", strings.Repeat("a", 33)} {
		if _, err := StartServer(ServerConfig{StoreDir: filepath.Join(t.TempDir(), "js"), Session: id}); err == nil {
			t.Errorf("session id %q was taken", id)
		}
	}
}
