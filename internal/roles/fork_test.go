package roles

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

const yieldEnv = "CLIPPER_TEST_YIELD"

// What yields is nicer than what does not, before and after this process yields,
// and so are all of its threads but those that fork. In a process of its own,
// for it cannot be undone.
func TestYield(t *testing.T) {
	if os.Getenv(yieldEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestYield$")
		cmd.Env = append(os.Environ(), yieldEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	base := niceOf(os.Getpid())
	s := supervisor(t)
	start := func(name string, yields bool) {
		t.Helper()
		if err := s.Start(Spec{Name: name, Path: script(t, "exec sleep 60"), Yields: yields}); err != nil {
			t.Fatal(err)
		}
		want := base
		if yields {
			want = min(base+yieldBy, 19)
		}
		if got := niceOf(pid(s, name)); got != want {
			t.Errorf("%s has the nice value %d, want %d", name, got, want)
		}
	}
	start("decoder", true)
	start("source", false)
	s.Yield()
	start("later source", false)
	start("later decoder", true)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	yielded := 0
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		switch n := niceOf(tid); {
		case n == min(base+yieldBy, 19):
			yielded++
		case tid != s.forker.tid:
			t.Errorf("thread %d has the nice value %d", tid, n)
		}
	}
	if yielded == 0 {
		t.Error("no thread yields")
	}
	s.StopAll(time.Minute)
}
