package keyhook

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"clipper/bus"
	"clipper/bus/natsbus"
)

// TestRole runs the role as `clipper up` does, on a real bus, is killed once
// on the way, and reads both layers to their ends.
func TestRole(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	dir := t.TempDir()
	server, err := natsbus.StartServer(natsbus.ServerConfig{StoreDir: filepath.Join(dir, "store"), Session: "test", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	access := filepath.Join(dir, "access")
	if err := server.Access().WriteFile(access); err != nil {
		t.Fatal(err)
	}
	client, err := natsbus.Connect(t.Context(), server.InProcess(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	shared, err := NewShared()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	add, files, err := Environment(dir, nil)
	if err != nil {
		t.Fatal(err)
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fetched, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer fetched.Close()
	app, listener, killable, ready, err := startApp("/bin/sh", []string{"sh", "-c", "while read x; do curl -sk " + srv.URL + " || exit 9; done"},
		append(os.Environ(), add...), KeysOptions{Stdin: in, Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	listenerFile := os.NewFile(uintptr(listener), "listener")
	defer listenerFile.Close()
	start := func() *exec.Cmd {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		o, err := json.Marshal(Options{ListenerFD: 3, RingFD: 4, StateFD: 5, ReadyFD: 6, Killable: killable, KeyLogFiles: files, AppPID: app.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(b.self, "keyhook")
		cmd.Env = append(os.Environ(), natsbus.OptionsEnv+"="+string(o), natsbus.AccessEnv+"="+access)
		cmd.ExtraFiles = []*os.File{listenerFile, shared.Ring, shared.State, w}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if n, _ := r.Read(make([]byte, 1)); n != 1 {
			t.Fatal("the role is not ready")
		}
		return cmd
	}
	role := start()
	unix.Write(ready, []byte{1})
	lines := bufio.NewScanner(fetched)
	fetch := func() {
		t.Helper()
		if io.WriteString(feed, "go\n"); !lines.Scan() || !strings.HasPrefix(lines.Text(), "hello") {
			t.Fatalf("the program said %q", lines.Text())
		}
	}
	fetch()
	role.Process.Kill()
	role.Wait()
	role = start()
	fetch()
	feed.Close()
	if code := waitApp(app); code != 0 {
		t.Errorf("exit code %d", code)
	}
	role.Process.Signal(syscall.SIGTERM)
	if err := role.Wait(); err != nil {
		t.Errorf("the role: %v", err)
	}

	truth := srv.lines()
	var o outcome
	err = client.Follow(t.Context(), bus.Keys, 0, 0, func(batch *natsbus.Batch) error {
		for r := range batch.Records() {
			if r.Type != bus.Secret {
				continue
			}
			s, err := bus.ParseSecret(r)
			if err != nil {
				return err
			}
			if s.Executable != "/usr/bin/curl" || s.Library != "openssl" || s.PID == 0 {
				t.Errorf("a secret of %q, %q, pid %d", s.Executable, s.Library, s.PID)
			}
			o.keyLog += s.KeyLogLine() + "\n"
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	o.check(t, truth, 2)
	events := map[string]int{}
	err = client.Follow(t.Context(), bus.Proc, bus.ProcKeyhook, 0, func(batch *natsbus.Batch) error {
		for r := range batch.Records() {
			if e, ok := r.Event.(*bus.ProcEvent); ok {
				events[string(e.Type)+" "+filepath.Base(e.Exe)+" "+e.Library+" "+e.State]++
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if events["exec curl  "] < 2 || events["hook curl openssl placed"] != 2 || events["exec dash  "] == 0 || events["exit .  "] < 3 {
		t.Errorf("%v", events)
	}
}
