//go:build linux

package capture

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestLimitFiles(t *testing.T) {
	got := limitFiles("8:pids:/a\n5:memory:/\n1:name=systemd:/\n0::/user.slice/app.scope\nnonsense\n")
	want := []string{
		"/sys/fs/cgroup/memory/memory.limit_in_bytes",
		"/sys/fs/cgroup/user.slice/app.scope/memory.max",
		"/sys/fs/cgroup/user.slice/memory.max",
		"/sys/fs/cgroup/memory.max",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAvailable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meminfo")
	if _, ok := available(file); ok {
		t.Error("memory without a file")
	}
	if err := os.WriteFile(file, []byte("MemFree: 1 kB\nMemAvailable:     2048 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, ok := available(file); n != 2<<20 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
}

const roomEnv = "CLIPPER_TEST_ROOM"

// A resource limit of the caller's bounds the backlog.
func TestRoomLimit(t *testing.T) {
	if os.Getenv(roomEnv) != "" {
		if _, err := os.Stdout.WriteString("room " + strconv.FormatInt(Room(), 10) + "\n"); err != nil {
			t.Fatal(err)
		}
		return
	}
	if n := Room(); n <= 0 || n > MaxBacklog {
		t.Errorf("room for %d bytes", n)
	}
	cmd := exec.Command("sh", "-c", `ulimit -f 1600; exec "$0" -test.run TestRoomLimit`, os.Args[0])
	cmd.Env = append(os.Environ(), roomEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := "room " + strconv.Itoa(1600*512/backlogShare) + "\n"; !strings.Contains(string(out), want) {
		t.Errorf("%s, want %s", out, want)
	}
}
