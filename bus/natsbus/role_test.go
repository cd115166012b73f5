package natsbus

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
)

func TestAccessFile(t *testing.T) {
	a := Access{URL: "nats://127.0.0.1:1", Session: "ab1", Partitions: 4, Seed: "S", KeysSeed: "K"}
	path := filepath.Join(t.TempDir(), "access.json")
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := a.WriteFile(path); err == nil {
		t.Error("an access file was overwritten")
	}
	t.Setenv(AccessEnv, path)
	got, err := AccessFromEnv()
	if err != nil || got != a {
		t.Errorf("%+v: %v", got, err)
	}
	if a = a.WithoutKeys(); a.HasKeys() || !got.HasKeys() || a.Seed == "" {
		t.Errorf("without keys: %+v", a)
	}
	os.Chmod(path, 0o640)
	if _, err := ReadAccess(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
	t.Setenv(AccessEnv, "")
	if _, err := AccessFromEnv(); err == nil || !strings.Contains(err.Error(), AccessEnv) {
		t.Error(err)
	}
	for _, text := range []string{"", "{}", `{"url":"x","session":"A","partitions":1}`, `{"url":"x","session":"a","partitions":0}`, `{"session":"a","partitions":1}`} {
		bad := filepath.Join(t.TempDir(), "bad")
		os.WriteFile(bad, []byte(text), 0o600)
		if a, err := ReadAccess(bad); err == nil {
			t.Errorf("%s is %+v", text, a)
		}
	}
}

func TestPartitionList(t *testing.T) {
	for list, want := range map[string][]int{"": {0, 1, 2, 3}, "2": {2}, "0, 3": {0, 3}} {
		if got, err := partitionList(list, 4); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"4", "-1", "x", "1,,2", "1,1"} {
		if got, err := partitionList(list, 4); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
}

func TestRunRole(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *ServerConfig) { c.Partitions = 2 })
	b := connect(t, s.Access(), "test")
	health := make(chan *nats.Msg, 16)
	if _, err := b.Conn().ChanSubscribe(b.CtlSubject("health.*"), health); err != nil {
		t.Fatal(err)
	}
	for p := range 2 {
		pub := openPublisher(t, b, bus.TCP, p)
		for _, r := range []*bus.Record{{Layer: bus.TCP, Type: bus.Data, Payload: []byte("x")}, {Layer: bus.TCP, Type: bus.EOS}} {
			if err := pub.Publish(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := pub.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o := StageOptions{Role: "pass", Log: testLog()}
	if err := runPartitions(t.Context(), b, []int{0, 1}, func() bus.Stage { return &pass{bus.TCP, bus.Plain, 0} }, o); err != nil {
		t.Fatal(err)
	}
	done := map[int]bool{}
	for len(done) < 2 {
		select {
		case m := <-health:
			var h Health
			if err := json.Unmarshal(m.Data, &h); err != nil || h.Role != "pass" || h.PID != os.Getpid() || h.RSS == 0 {
				t.Fatalf("%s: %v", m.Data, err)
			}
			if h.Done {
				done[h.Partition] = true
				if h.InRecords != 2 || h.OutRecords != 2 {
					t.Errorf("%s", m.Data)
				}
			}
		case <-time.After(time.Minute):
			t.Fatal("no health")
		}
	}
}

// What a role cannot do is said, not waited for.
func TestStageErrors(t *testing.T) {
	s := startServer(t)
	noKeys := connect(t, s.Access().WithoutKeys(), "test")
	if err := RunStage(t.Context(), noKeys, 0, newToy, StageOptions{}); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("a stage without the right to its secrets: %v", err)
	}
	for _, p := range []pass{{bus.Proc, bus.Plain, 0}, {bus.TCP, bus.Keys, 0}, {bus.Keys, bus.Plain, 0}} {
		if err := RunStage(t.Context(), noKeys, 0, func() bus.Stage { return &p }, StageOptions{}); err == nil {
			t.Errorf("stage %+v ran", p)
		}
	}
	a := s.Access()
	a.Seed = a.KeysSeed[:len(a.KeysSeed)-2]
	if _, err := Connect(t.Context(), a, "test"); err == nil {
		t.Error("a damaged seed connected")
	} else if strings.Contains(err.Error(), a.Seed) {
		t.Errorf("the error tells the seed: %v", err)
	}
	a = s.Access()
	a.URL = "nats://127.0.0.1:1"
	if _, err := Connect(t.Context(), a, "test"); err == nil || !strings.Contains(err.Error(), a.URL) {
		t.Errorf("nobody listens: %v", err)
	}
}
