package natsbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// ServerConfig configures the embedded server.
type ServerConfig struct {
	StoreDir   string // private directory (0700) of the streams; it is made if absent
	Session    string // session id: lower-case letters and digits
	Partitions int    // of the partitioned layers; 0 is DefaultPartitions
	// StreamBytes limits each stream, at least 4 MiB; 0 is an eighth of the free
	// disk, from 16 MiB to 4 GiB.
	StreamBytes int64
	Port        int            // of 127.0.0.1; 0 is a random one
	Log         zerolog.Logger // the server's log; its notices are debug lines
	// OnError is told once, from its own goroutine, when the bus can no longer be
	// used: mostly ErrDiskFull, wrapped with the directory.
	OnError func(error)

	// For tests.
	readBy    map[bus.Layer]outputsOf // instead of the stages of Clipper
	trimEvery time.Duration
}

// DefaultPartitions of a session.
const DefaultPartitions = 4

// Limits of the embedded server, in bytes.
const (
	maxPayload   = 8 << 20  // a batch is at most bus.MaxBatch; the rest is margin
	consumerRAM  = 64 << 20 // the consumers' state, in memory
	minFreeDisk  = 8 << 20  // less is a full disk
	minStream    = 16 << 20
	maxStream    = 4 << 30
	freeInterval = 200 * time.Millisecond
	setupTime    = 30 * time.Second
)

// Server is an embedded NATS server with the streams of one session.
type Server struct {
	nats   *server.Server
	lock   *os.File
	cfg    ServerConfig
	users  users
	made   <-chan struct{} // closed when all streams are there
	forced atomic.Int64    // see trimmer
	done   chan struct{}
	closed sync.Once

	mu  sync.Mutex
	err error
}

// StartServer starts the server and makes the streams. Every run has new
// secrets; streams that the directory already holds are kept.
func StartServer(cfg ServerConfig) (*Server, error) {
	if cfg.readBy == nil {
		cfg.readBy = readBy
	}
	if cfg.trimEvery == 0 {
		cfg.trimEvery = trimInterval
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = DefaultPartitions
	}
	if err := (Access{URL: "embedded", Session: cfg.Session, Partitions: cfg.Partitions}).check(); err != nil {
		return nil, err
	}
	if err := privateDir(cfg.StoreDir); err != nil {
		return nil, err
	}
	free, err := freeBytes(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	if free < minFreeDisk {
		return nil, diskFull(cfg.StoreDir)
	}
	if cfg.StreamBytes == 0 {
		cfg.StreamBytes = min(max(free/8, minStream), maxStream)
	}
	if cfg.StreamBytes < minLimit {
		return nil, fmt.Errorf("natsbus: streams of %d bytes; at least %d are needed", cfg.StreamBytes, minLimit)
	}
	lock, err := lockDir(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock, cfg: cfg, done: make(chan struct{})}
	if s.users, err = newUsers(); err == nil {
		err = s.start()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	go s.watchDisk()
	go s.trim()
	return s, nil
}

func (s *Server) start() error {
	o := &server.Options{
		ServerName:             "clipper-" + s.cfg.Session,
		Host:                   "127.0.0.1",
		Port:                   s.cfg.Port,
		NoSigs:                 true, // signals belong to the program around the server
		NoLog:                  true,
		MaxPayload:             maxPayload,
		WriteDeadline:          10 * time.Second,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               s.cfg.StoreDir,
		JetStreamMaxMemory:     consumerRAM,
		// What the streams may hold together is more than there is: which layer of
		// which partition grows is not known before, and watchDisk looks after the disk.
		// Twice that, because the server counts streams that exist when they are asked for again.
		JetStreamMaxStore: 2 * s.cfg.StreamBytes * int64(streamCount(s.cfg.Partitions)+len(bus.Layers)*s.cfg.Partitions),
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if err := o.ProcessConfigString(accounts(s.cfg.Session, s.users)); err != nil {
		return fmt.Errorf("natsbus: accounts: %w", err)
	}
	var err error
	if s.nats, err = server.NewServer(o); err != nil {
		return fmt.Errorf("natsbus: %w", err)
	}
	s.nats.SetLoggerV2(serverLog{s.cfg.Log}, s.cfg.Log.GetLevel() <= zerolog.TraceLevel, false, false)
	s.nats.Start()
	if !s.nats.ReadyForConnections(10 * time.Second) {
		return errors.New("natsbus: the embedded server did not become ready")
	}
	if !s.nats.JetStreamEnabled() {
		return fmt.Errorf("natsbus: the embedded server has no storage in %s", s.cfg.StoreDir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTime)
	defer cancel()
	b, err := Connect(ctx, s.InProcess(), "setup")
	if err != nil {
		return err
	}
	streams := StreamConfig{StreamBytes: s.cfg.StreamBytes}
	if err := b.firstRequests(ctx); err != nil {
		b.Close()
		return err
	}
	if err := b.createStreams(ctx, streams, primary); err != nil {
		b.Close()
		return err
	}
	// The sources can start. Whoever needs another stream waits for it: see awaitStream.
	made := make(chan struct{})
	s.made = made
	go func() {
		defer close(made)
		defer b.Close()
		ctx, cancel := context.WithTimeout(context.Background(), setupTime)
		defer cancel()
		go func() {
			select {
			case <-s.done:
				cancel()
			case <-ctx.Done():
			}
		}()
		err := b.createStreams(ctx, streams, func(l bus.Layer) bool { return !primary(l) })
		if err == nil {
			if err := s.firstTapRequest(ctx); err != nil { // the taps will say it themselves
				s.cfg.Log.Debug().Err(err).Msg("bus")
			}
		}
		if err != nil {
			select {
			case <-s.done:
			default:
				s.fail(err)
			}
		}
	}()
	return nil
}

// firstRequests makes one request after the other for each account. The server
// subscribes to the answers of an exporting account, which for JetStream is its
// own, when the first request comes; one that comes meanwhile loses its answer.
func (b *Bus) firstRequests(ctx context.Context) error {
	for _, l := range []*link{b.main, b.keys} {
		if _, err := l.js.AccountInfo(ctx); err != nil {
			return fmt.Errorf("natsbus: the embedded server's storage: %w", l.explain(err))
		}
	}
	return nil
}

// firstTapRequest does the same for what taps import from the pipeline.
func (s *Server) firstTapRequest(ctx context.Context) error {
	a := s.TapAccess()
	a.InProcess = inProcess{s.nats}
	b, err := Connect(ctx, a, "setup-tap")
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = b.main.js.Stream(ctx, bus.StreamName(s.cfg.Session, bus.Frames, 0))
	if err != nil {
		return fmt.Errorf("natsbus: the embedded server's storage for taps: %w", b.main.explain(err))
	}
	return nil
}

// primary layers come from outside, not from a stage.
func primary(l bus.Layer) bool { return l == bus.Frames || l == bus.Keys || l == bus.Proc }

// Access is for the processes of the session, with the right to Keys.
func (s *Server) Access() Access {
	return Access{URL: s.nats.ClientURL(), Session: s.cfg.Session, Partitions: s.cfg.Partitions,
		Seed: s.users.pipeline.seed, KeysSeed: s.users.keys.seed}
}

// InProcess is Access without a socket, for the process of the server.
func (s *Server) InProcess() Access {
	a := s.Access()
	a.InProcess = inProcess{s.nats}
	return a
}

// TapAccess reads every layer but Keys, and writes nothing.
func (s *Server) TapAccess() Access {
	a := s.Access().WithoutKeys()
	a.Seed, a.Tap = s.users.tap.seed, true
	return a
}

// Err is what OnError was told, or nil.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close stops the server. The directory stays.
func (s *Server) Close() error {
	s.finish()
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	s.lock.Close()
	return nil
}

// Abandon leaves the server to the end of the process, which must follow: nothing
// is written out, for the directory is to be removed. Close, which takes 50 ms
// longer, is still possible: what clients had asked for may yet be made.
func (s *Server) Abandon() {
	s.finish()
	s.lock.Close()
}

// finish ends what works beside the server.
func (s *Server) finish() {
	s.closed.Do(func() {
		close(s.done)
		if s.made != nil { // nothing is made any more in a directory that may be removed
			<-s.made
		}
	})
}

// watchDisk reports the end of the disk, at best before the server meets it:
// at the first failed write the server gives all storage up.
func (s *Server) watchDisk() {
	t := time.NewTicker(freeInterval)
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-t.C:
		}
		free, err := freeBytes(s.cfg.StoreDir)
		if s.nats.JetStreamEnabled() && (err != nil || free >= minFreeDisk) {
			continue
		}
		select {
		case <-s.done: // Close ends JetStream too
			return
		default:
		}
		s.fail(diskFull(s.cfg.StoreDir))
		return
	}
}

// fail reports the first error that ends the bus.
func (s *Server) fail(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if !first {
		return
	}
	s.cfg.Log.Error().Err(err).Msg("bus")
	if s.cfg.OnError != nil {
		s.cfg.OnError(err)
	}
}

// inProcess keeps the server's many other methods out of an Access.
type inProcess struct{ s *server.Server }

var _ nats.InProcessConnProvider = inProcess{}

func (p inProcess) InProcessConn() (net.Conn, error) { return p.s.InProcessConn() }

func privateDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("natsbus: store directory %q is not absolute", dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("natsbus: store directory: %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("natsbus: store directory: %w", err)
	}
	if !st.IsDir() || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("natsbus: store directory %s: mode is %v, it must be a directory with mode 0700", dir, st.Mode())
	}
	return nil
}
