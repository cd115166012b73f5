package natsbus

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kill9 runs the toy as a process of its own until it ends by itself, and kills
// it a number of times before.
func kill9(t *testing.T, a Access, role string, kills int, atMost time.Duration) (killed int) {
	path := filepath.Join(t.TempDir(), "access.json")
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	for {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), roleEnv+"="+role, AccessEnv+"="+path)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		var err error
		if killed < kills {
			select {
			case err = <-done:
			case <-time.After(rand.N(atMost)):
				c.Process.Kill()
				err = <-done
			case <-t.Context().Done():
				c.Process.Kill()
				<-done
				t.Fatal("timeout")
			}
		} else {
			err = <-done
		}
		var exit *exec.ExitError
		switch {
		case err == nil:
			return killed
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
			killed++
		default:
			t.Fatalf("decoder: %v", err)
		}
	}
}

func testKill9(t *testing.T, tr traffic, kills int, atMost, slow time.Duration) {
	s := startServer(t, func(c *ServerConfig) { c.Partitions = 2 })
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for p := range 2 {
		tr := tr
		tr.partition = p
		if p == 1 { // Keys has one writer
			tr.noKeys = true
		}
		source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
		wg.Go(func() { errs <- tr.feed(t.Context(), source) })
		wg.Go(func() { errs <- tr.check(t.Context(), sink, slow) })
	}
	n := kill9(t, s.Access(), "toy", kills, atMost)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("killed %d times", n)
	if n < kills/2 {
		t.Errorf("only %d kills of %d before the end: the traffic is too short", n, kills)
	}
}

func TestKill9(t *testing.T) {
	t.Parallel()
	testKill9(t, traffic{conns: 300, size: 200_000, seed: 7, pace: 300 * time.Microsecond}, 20, 250*time.Millisecond, 0)
}

func TestKill9SlowSink(t *testing.T) {
	t.Parallel()
	testKill9(t, traffic{conns: 200, size: 200_000, seed: 8, pace: 300 * time.Microsecond}, 10, 250*time.Millisecond, 5*time.Millisecond)
}
