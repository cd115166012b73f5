package integration

import (
	"fmt"
	"path/filepath"
	"testing"

	"clipper/integration/truth"
)

// TestLoad loses nothing of 10,000 requests over 50 connections.
func TestLoad(t *testing.T) {
	const requests, connections = 10000, 50
	goclient := build(t, "clipper/integration/cmd/goclient", "-ldflags=-s -w", "-trimpath")
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			s, ca := truthServer(t, truth.Options{})
			w := plainUser(t)
			har := filepath.Join(w.dir(t), "out.har")
			r := run(t, w, "up", "-q", "--no-devtools", "--har", har, "--", goclient, "-ca", ca, "-n", fmt.Sprint(requests), "-c", fmt.Sprint(connections), fmt.Sprintf("-h2=%v", h2), s.URL)
			if r.code != 0 || r.stderr != "" {
				t.Fatalf("exit %d\n%s", r.code, r.stderr)
			}
			sameAsServer(t, readHAR(t, har), s.Log())
			if n := s.Count(); n != requests {
				t.Errorf("the server saw %d requests", n)
			}
			nothingLeft(t, r)
		})
	}
}
