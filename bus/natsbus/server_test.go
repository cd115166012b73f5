package natsbus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"clipper/bus"

	"github.com/rs/zerolog"
)

func startServer(t testing.TB, mod ...func(*ServerConfig)) *Server {
	t.Helper()
	cfg := ServerConfig{StoreDir: filepath.Join(t.TempDir(), "js"), Session: "t1", Partitions: 1, StreamBytes: 256 << 20, Log: zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)}
	for _, f := range mod {
		f(&cfg)
	}
	s, err := StartServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, ok := t.(*testing.B); !ok {
		<-s.made
	}
	return s
}

// The server dies with its program: whoever hangs on it ends.
func TestServerGone(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	p := openPublisher(t, b, bus.TCP, 0)
	results := make(chan error, 4)
	go func() { results <- b.Follow(t.Context(), bus.Frames, 0, 0, func(*Batch) error { return nil }) }()
	go func() { results <- RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog()}) }()
	tap := connect(t, s.TapAccess(), "tap")
	go func() { results <- tap.Follow(t.Context(), bus.Frames, 0, 0, func(*Batch) error { return nil }) }()
	go func() {
		for {
			if err := p.Publish(t.Context(), &bus.Record{Layer: bus.TCP, Type: bus.Data, Payload: make([]byte, 1000)}); err != nil {
				results <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	time.Sleep(100 * time.Millisecond)
	s.Close()
	for range 4 {
		select {
		case err := <-results:
			// A server that shuts down stops storing and answering before it hangs up;
			// on a slow disk that may be seen first.
			if !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("somebody hangs")
		}
	}
}
