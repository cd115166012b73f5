//go:build look

package browsertest

import (
	"flag"
	"testing"
)

var look = flag.String("look", "", "open this DevTools URL and take screenshots (with -shots)")

// TestLook is for the eye: a running session, `go test -tags look -run TestLook -look URL -shots DIR`.
func TestLook(t *testing.T) {
	b := chromium(t)
	for _, r := range b.open(*look, 1) {
		t.Log(r)
	}
	b.shot("look")
}
