//go:build linux

package sandbox_test

import (
	"context"
	"testing"

	"clipper/sandbox"

	"golang.org/x/sys/unix"
)

func TestProcessesLeft(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Spec{Argv: []string{"sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	if err := sb.Release(); err != nil {
		t.Fatal(err)
	}
	if code, err := sb.Wait(); code != 3 || err != nil {
		t.Errorf("exit status %d, %v", code, err)
	}
	left := sb.Processes()
	if len(left) != 1 {
		t.Fatalf("processes %v, want one", left)
	}
	unix.Kill(left[0], unix.SIGKILL)
	if err := sb.WaitAll(context.Background()); err != nil {
		t.Error(err)
	}
	if left := sb.Processes(); len(left) != 0 {
		t.Errorf("processes %v", left)
	}
}
