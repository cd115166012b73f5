package payload

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestEmulated runs this package's tests, the blob's with them, as an arm64
// machine would.
func TestEmulated(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("this is the other machine")
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Skip("no qemu-aarch64-static")
	}
	tests := filepath.Join(t.TempDir(), "payload.test")
	build := exec.Command("go", "test", "-c", "-o", tests, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(qemu, tests).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
