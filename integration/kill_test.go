package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/integration/truth"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// psRow is one session as `clipper ps --json` prints it.
type psRow struct {
	ID       string
	PID      int
	DevTools string
	Roles    []struct {
		Name   string
		PID    int
		Starts int
	}
}

// beside is another command of the same program and user.
func beside(cmd *exec.Cmd, args ...string) *exec.Cmd {
	c := exec.Command(cmd.Path, args...)
	c.Env, c.Dir = cmd.Env, cmd.Dir
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Credential != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: cmd.SysProcAttr.Credential}
	}
	return c
}

// ps lists the sessions below the directory that cmd runs in.
func ps(t testing.TB, cmd *exec.Cmd) []psRow {
	t.Helper()
	b, err := beside(cmd, "ps", "--json").Output()
	if err != nil {
		return nil
	}
	var rows []psRow
	unmarshal(t, b, &rows)
	return rows
}

// rolePID waits until a role of the only session runs and returns its process id.
func rolePID(t testing.TB, cmd *exec.Cmd, role string) int {
	t.Helper()
	pid := 0
	eventually(t, role+" runs", func() bool {
		for _, row := range ps(t, cmd) {
			for _, r := range row.Roles {
				if r.Name == role {
					pid = r.PID
				}
			}
		}
		return pid != 0
	})
	return pid
}

// devTools is the address of the only session's DevTools.
func devTools(t testing.TB, cmd *exec.Cmd) (url string) {
	t.Helper()
	eventually(t, "the session is listed", func() bool {
		rows := ps(t, cmd)
		if len(rows) == 1 {
			url = rows[0].DevTools
		}
		return url != ""
	})
	return url
}

// eventually polls until ok; a minute is never.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// TestKillDecoders kills each decoder in the middle of 2,000 requests.
func TestKillDecoders(t *testing.T) {
	const requests = 2000
	goclient := build(t, "clipper/integration/cmd/goclient", "-ldflags=-s -w", "-trimpath")
	for _, role := range []string{"reassembler", "tlsdec", "httpdec", "cdpgw"} {
		t.Run(role, func(t *testing.T) {
			s, ca := truthServer(t, truth.Options{})
			cmd := plainUser(t).command(t, clipper(t), "up", "--json", "lines.json", "--har", "out.har", "--",
				goclient, "-ca", ca, "-n", fmt.Sprint(requests), "-c", "4", s.URL)
			har := filepath.Join(cmd.Dir, "out.har")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kills := 0
			for _, at := range []int{requests / 8, requests / 3, requests * 2 / 3} {
				eventually(t, "enough requests", func() bool { return s.Count() >= at })
				syscall.Kill(rolePID(t, cmd, role), syscall.SIGKILL)
				kills++
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("the app was harmed: %v\n%s", err, errs.String())
			}
			h := readHAR(t, har)
			sameAsServer(t, h, s.Log())
			urls := map[string]int{}
			for _, e := range h.Log.Entries {
				urls[e.Request.URL]++
			}
			if len(urls) != requests || len(h.Log.Entries) != requests {
				t.Errorf("%d entries with %d URLs after %d kills, want %d", len(h.Log.Entries), len(urls), kills, requests)
			}
			if lines := bytes.Count(readFile(t, filepath.Join(cmd.Dir, "lines.json")), []byte("\n")); lines != requests {
				t.Errorf("%d lines of JSON, want %d", lines, requests)
			}
		})
	}
}

// TestKillDecodersWithSnapshots kills the decoders in turn while one connection
// stays open that is longer than the log: what they restart with is the state that
// they stored, of the middle of a download and of requests.
func TestKillDecodersWithSnapshots(t *testing.T) {
	const requests, download = 900, 16 << 20
	goclient := build(t, "clipper/integration/cmd/goclient", "-ldflags=-s -w", "-trimpath")
	w := plainUser(t)
	url, creds := natsServer(t, w)
	nc, err := nats.Connect(url, nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	snapshots := func() (n int) {
		for name := range js.StreamNames(t.Context()).Name() {
			if strings.HasSuffix(name, "_snapshots") {
				n++
			}
		}
		return n
	}
	roles := []string{"reassembler", "tlsdec", "httpdec"}
	for _, protocol := range []string{"-h2=false", "-h2"} {
		t.Run(protocol, func(t *testing.T) {
			s, ca := truthServer(t, truth.Options{})
			cmd := w.command(t, clipper(t), "up", "--no-devtools", "-q", "--partitions", "1", "--nats", url, "--creds", creds, "--nats-max", "5MB", "--har", "out.har", "--",
				goclient, "-ca", ca, "-n", fmt.Sprint(requests), "-size", fmt.Sprint(download), protocol, s.URL)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a snapshot of each decoder", func() bool { return snapshots() == len(roles) })
			for kill := range 3 * len(roles) {
				at := requests * (kill + 1) / 12
				eventually(t, "enough requests", func() bool { return s.Count() >= at })
				syscall.Kill(rolePID(t, cmd, roles[kill%len(roles)]), syscall.SIGKILL)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("the app was harmed: %v\n%s", err, errs.String())
			}
			h := readHAR(t, filepath.Join(cmd.Dir, "out.har"))
			sameAsServer(t, h, s.Log())
			if len(h.Log.Entries) != requests+1 {
				t.Errorf("%d entries, want %d", len(h.Log.Entries), requests+1)
			}
		})
	}
}

// TestJSONLines checks that each line is an entry of its own.
func TestJSONLines(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	r := run(t, plainUser(t), "up", "--no-devtools", "-q", "--json", "-", "--", "curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "--cacert", ca, s.URL+"/json/a", s.URL+"/json/b")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d, stderr %q", r.code, r.stderr)
	}
	var urls []string
	dec := json.NewDecoder(bytes.NewReader([]byte(r.stdout)))
	for dec.More() {
		var e harEntry
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, e.Request.URL)
	}
	if want := []string{s.URL + "/json/a", s.URL + "/json/b"}; !slices.Equal(urls, want) {
		t.Errorf("the lines have %q, want %q", urls, want)
	}
}
