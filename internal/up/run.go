package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"clipper/bus/natsbus"
	"clipper/httpdec/role"
	"clipper/internal/recorded"
	"clipper/internal/roles"
	"clipper/internal/session"
	"clipper/internal/term"
	"clipper/keyhook"
	"clipper/sandbox"
	"clipper/sandbox/capture"
	"clipper/sandbox/netd"

	"github.com/rs/zerolog"
)

// run is one session.
type run struct {
	o       Options
	session *session.Session
	server  *natsbus.Server
	bus     *natsbus.Bus
	sandbox *sandbox.Sandbox
	shared  *keyhook.Shared
	ring    func() error // see makeRing
	page    *os.File     // shared by capture and netd
	files   []*os.File   // kept for roles that are started again

	captureReady *os.File // says that the capture may be ended
	life         *os.File // tells netd how this process ends
	left         bool     // processes outlive the command and keep their network
	roles        *roles.Supervisor
	term         *term.Terminal
	tools        *devTools
	released     bool // the command runs, or has run
	conditions   conditions
	recorder     *recorded.Recorder // nil without --keep
	out          *outputs
	screen       *screen // nil without --tui
	health       health
	decoders     decoders

	access, keysAccess string // paths of the access files
	schema             string // path of the schema of gRPC messages; "": none
	natsURL            string
	stopTrim           context.CancelFunc // with a server of others
	publish            []netd.Publish
	keyLogs            []keyhook.KeyLogFile

	mu     sync.Mutex
	failed []error // what went wrong in Clipper, not in the app

	broken    chan struct{} // closed by fail
	breakOnce sync.Once
}

// Run runs the command of o under Clipper and returns its exit status. An
// error is Clipper's own; one of type *sandbox.CommandError says that the
// command cannot be run.
func Run(ctx context.Context, o Options) (code int, err error) {
	r := &run{o: o, broken: make(chan struct{}), term: term.New(os.Stderr, o.Quiet)}
	// Caught, not ignored, which the command would inherit: who reads an output may
	// leave, as head(1) does, and the command goes on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	start := catchEarly()
	defer start.stop()
	defer func() { // a start that was broken off fails anywhere
		if _, named := errors.AsType[*sandbox.CommandError](err); err == nil || r.released || named {
			return
		}
		if n := start.status(earlyWait); n != 0 {
			code, err = n, nil
		}
	}()
	for _, p := range o.Publish {
		pub, err := netd.ParsePublish(p)
		if err != nil {
			return 0, err
		}
		r.publish = append(r.publish, pub)
	}
	if o.Keep != "" {
		if r.recorder, err = recorded.Create(o.Keep); err != nil {
			return 0, err
		}
		r.recorder.Facts.Command = o.Command
		defer func() {
			if r.recorder != nil { // it never began
				r.recorder.Discard()
			}
		}()
	}
	if o.TUI {
		if r.screen, err = newScreen(r); err != nil {
			return 0, err
		}
		defer r.screen.close()
	}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	out, err := r.outputs(ctx)
	if err != nil {
		return 0, err
	}
	defer out.close() // again, if all goes well
	r.out = out
	if err := r.health.listen(r.bus); err != nil {
		return 0, err
	}
	if err := r.startSources(); err != nil {
		return 0, err
	}
	if r.o.DevTools {
		if r.tools, err = newDevTools(r); err != nil {
			return 0, err
		}
	}
	if err := r.session.Write(r.facts()); err != nil {
		return 0, err
	}
	if err := r.control(); err != nil {
		return 0, err
	}
	if r.tools != nil {
		r.term.Say("DevTools: %s", r.tools.url())
		r.openBrowser()
	}
	if r.screen != nil {
		r.screen.show(ctx)
	}
	if n := start.status(0); n != 0 {
		return n, nil
	}
	if err := r.sandbox.Release(); err != nil {
		return 0, err
	}
	r.released = true
	start.stop()
	if err := r.startCapture(); err != nil {
		return 0, err
	}
	r.startDecoders() // the log keeps for them what the app does meanwhile
	r.roles.Yield()
	code, err = r.sandbox.Wait()
	if err != nil {
		return 0, err
	}
	r.leftBehind(ctx)
	r.drain(out)
	out.sink.Flush()
	if r.screen != nil {
		r.screen.wait(code)
	} else {
		r.stay(ctx, code)
	}
	if err := out.close(); err != nil {
		r.fail(err)
	}
	r.waitForTaps()
	out.sink.Lost(r.health.lost())
	out.sink.Summary()
	r.kept(out, code)
	return code, r.failure()
}

// kept ends the recording.
func (r *run) kept(out *outputs, code int) {
	if r.recorder == nil {
		return
	}
	f := &r.recorder.Facts
	f.Exit, f.Full = code, !out.sink.KeptAll()
	t := out.sink.Totals()
	f.Exchanges, f.Failed = t.Exchanges, t.Failed
	if err := r.recorder.Close(); err != nil {
		r.fail(fmt.Errorf("--keep: %w", err))
	} else {
		r.term.Note("  kept     as %s (clipper open %s)", f.Name, f.Name)
	}
	r.recorder = nil
}

// lack notes that something is missing from the outputs, and says so once; the rest
// goes on.
func (r *run) lack(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.failed, func(said error) bool { return errors.Is(said, err) }) {
		return
	}
	r.failed = append(r.failed, err)
	r.term.Say("%v", err)
}

// fail notes that something in Clipper went wrong, so that the outputs will
// never end by themselves.
func (r *run) fail(err error) {
	r.lack(err)
	r.breakOnce.Do(func() { close(r.broken) })
}

func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) == 0 {
		return nil
	}
	return errReported{errors.Join(r.failed...)}
}

// errReported is an error that has been printed already.
type errReported struct{ error }

func (e errReported) Unwrap() error { return e.error }

// Reported says whether err was already told to the user.
func Reported(err error) bool { return errors.As(err, new(errReported)) }

// prepare makes the session's directory, and side by side the bus and the namespaces.
func (r *run) prepare(ctx context.Context) error {
	base := session.Base()
	s, err := session.New(base)
	if err != nil {
		return err
	}
	r.session = s
	go Sweep(base)
	logs := s.Path("log")
	if err := os.Mkdir(logs, 0o700); err != nil {
		return err
	}
	r.roles = &roles.Supervisor{LogDir: logs, GaveUp: func(_ string, err error) {
		r.fail(fmt.Errorf("%w; the command goes on, but what follows is not decoded", err))
	}}

	if r.o.Verbose {
		r.roles.Stderr = os.Stderr
	}

	if len(r.o.Schema) > 0 {
		r.schema = s.Path("schema.binpb")
		if err := os.WriteFile(r.schema, r.o.Schema, 0o600); err != nil {
			return err
		}
	}

	add, files, err := keyhook.Environment(s.Dir, os.Environ())
	if err != nil {
		return err
	}
	r.keyLogs = files
	var wg sync.WaitGroup
	var busErr, boxErr error
	wg.Go(func() { busErr = r.startBus(ctx) })
	wg.Go(func() {
		boxErr = r.startSandbox(slices.Concat(os.Environ(), r.o.Env, add))
	})
	wg.Wait()
	if boxErr != nil {
		return boxErr
	}
	return busErr
}

func (r *run) startBus(ctx context.Context) error {
	r.access, r.keysAccess = r.session.Path("access.json"), r.session.Path("access-keys.json")
	if r.o.NATS != "" {
		return r.joinBus(ctx)
	}
	srv, err := natsbus.StartServer(natsbus.ServerConfig{
		StoreDir: r.session.Path("nats"), Session: r.session.ID, Partitions: r.o.Partitions, Log: zerolog.Nop(),
		OnError: func(err error) {
			r.fail(fmt.Errorf("%w; the command goes on, but its traffic is not recorded any more", err))
			r.stopCapture()
		},
	})
	if err != nil {
		return err
	}
	r.server = srv
	if err := srv.Access().WithoutKeys().WriteFile(r.access); err != nil {
		return err
	}
	if err := srv.Access().WriteFile(r.keysAccess); err != nil {
		return err
	}
	tap := srv.TapAccess()
	if err := tap.WriteFile(r.session.Path("tap.json")); err != nil {
		return err
	}
	// For the plain nats command, which wants the seed in a file of its own.
	if err := os.WriteFile(r.session.Path(session.TapSeed), []byte(tap.Seed+"\n"), 0o600); err != nil {
		return err
	}
	r.natsURL = tap.URL
	r.bus, err = natsbus.Connect(ctx, srv.InProcess(), "up")
	return err
}

func (r *run) startSandbox(env []string) (err error) {
	var stdio [3]*os.File // nil: the process's own
	if r.screen != nil {
		stdio = r.screen.stdio
	}
	r.sandbox, err = sandbox.Start(sandbox.Spec{Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2], Argv: r.o.Command, Env: env, Role: []string{"clipper", "stage1"}, Hook: true, KillAll: r.o.KillAll})
	if r.screen != nil {
		r.screen.started()
	}
	if err != nil {
		return err
	}
	if r.page, err = capture.NewPageWith(capture.Room()); err != nil {
		return err
	}
	r.makeRing()
	r.shared, err = keyhook.NewShared()
	return err
}

// makeRing makes the ring of the capture beside everything else: the kernel waits
// for a grace period of RCU before it lets go. r.ring waits for it.
func (r *run) makeRing() {
	var err error
	made := make(chan struct{})
	fd := int(r.sandbox.Packet.Fd())
	go func() {
		err = capture.Setup(fd)
		close(made)
	}()
	r.ring = func() error {
		<-made
		return err
	}
}

// startSources starts the roles without which the app must not start, and waits
// for them and for the ring.
func (r *run) startSources() error {
	wait := map[string]*os.File{}
	tell := map[string]*os.File{}
	for _, name := range []string{"netd", "keyhook"} {
		var err error
		if wait[name], tell[name], err = r.readyPipe(); err != nil {
			return err
		}
	}
	life, spawner, err := os.Pipe()
	if err != nil {
		return err
	}
	r.files = append(r.files, life)
	r.life = spawner
	sb := r.sandbox
	network := netd.Options{TunFD: 3, DiagFD: 4, PacketFD: 5, PageFD: 6, ReadyFD: 7, LifeFD: 8, RemainsFD: 9,
		MTU: sb.MTU, IPv6: sb.IPv6, Publish: r.publish, Remains: r.session.Dir, Orphaned: []string{"clipper", SweepRole}}
	files := []*os.File{sb.Tun, sb.Diag, sb.Packet, r.page, tell["netd"], life, r.session.Lock()}
	if sb.Loopback != nil {
		network.LoopbackFD = 3 + len(files)
		files = append(files, sb.Loopback)
	}
	keys := keyhook.Options{ListenerFD: -1, RingFD: 3, StateFD: 4, ReadyFD: 5, Killable: sb.Killable, KeyLogFiles: r.keyLogs, AppPID: sb.PID}
	keyFiles := []*os.File{r.shared.Ring, r.shared.State, tell["keyhook"]}
	if sb.Listener != nil {
		network.ListenerFD, keys.ListenerFD = 3+len(files), 3+len(keyFiles)
		files, keyFiles = append(files, sb.Listener), append(keyFiles, sb.Listener)
	} else {
		r.term.Say("TLS secrets come only from Java and from programs that honour SSLKEYLOGFILE: %s", unhooked(sb.Unhooked))
	}
	specs := []roles.Spec{
		{Name: "netd", Access: r.access, Orphan: true, Files: files, Options: network},
		{Name: "keyhook", Access: r.keysAccess, Files: keyFiles, Options: keys},
	}
	for _, spec := range specs {
		if err := r.roles.Start(spec); err != nil {
			return err
		}
	}
	if err := r.ring(); err != nil {
		return err
	}
	if err := r.ready("netd", wait["netd"]); err != nil {
		return err
	}
	return r.ready("keyhook", wait["keyhook"])
}

// unhooked says why the command could not get the seccomp filter.
func unhooked(err error) string {
	if errors.Is(err, syscall.EBUSY) {
		return "clipper itself runs under another clipper, or in a container that watches system calls as it does"
	}
	return fmt.Sprintf("%v (see clipper doctor)", err)
}

// readyPipe is for a role's word that it is ready.
func (r *run) readyPipe() (here, there *os.File, err error) {
	if here, there, err = os.Pipe(); err == nil {
		r.files = append(r.files, here, there)
	}
	return here, there, err
}

// startCapture starts the role that empties the ring, which keeps for it what the
// app does meanwhile.
func (r *run) startCapture() error {
	here, there, err := r.readyPipe()
	if err != nil {
		return err
	}
	r.captureReady = here
	return r.roles.Start(roles.Spec{Name: "capture", Access: r.access, Files: []*os.File{r.sandbox.Packet, r.page, there},
		Options: capture.Options{PacketFD: 3, PageFD: 4, ReadyFD: 5}})
}

// startDecoders starts the roles that read the log.
func (r *run) startDecoders() {
	specs := []roles.Spec{
		{Name: "reassembler", Access: r.access, Final: true},
		{Name: "tlsdec", Access: r.keysAccess, Final: true},
		{Name: "httpdec", Access: r.access, Final: true, Options: role.Options{Schema: r.schema}},
	}
	if r.tools != nil {
		specs = append(specs, r.tools.spec())
	}
	r.decoders.Lock()
	defer r.decoders.Unlock()
	r.decoders.specs = specs
	for i := range specs {
		specs[i].Yields = true
		specs[i].Path = r.o.Programs[specs[i].Name]
		if err := r.roles.Start(specs[i]); err != nil {
			r.fail(err)
		}
	}
}

// ready waits until a role has written its byte; anything longer is why it cannot start.
func (r *run) ready(role string, f *os.File) error {
	buf := make([]byte, 4096)
	for range readyLimit / readyPoll {
		f.SetReadDeadline(time.Now().Add(readyPoll))
		n, err := f.Read(buf)
		switch {
		case n == 1 || n > 1 && buf[0] == netd.Ready: // again, after a restart
			return nil
		case n > 1:
			return errors.New(string(buf[:n]))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("wait for %s: %w", role, err)
		}
		select {
		case <-r.roles.Done(role):
			return r.roles.Err(role)
		default:
		}
	}
	return fmt.Errorf("%s was not ready after %v%s", role, readyLimit, r.roles.LastWords(role))
}

// leftBehind deals with the processes that outlive the command.
func (r *run) leftBehind(ctx context.Context) {
	left := r.sandbox.Processes()
	if len(left) == 0 {
		return
	}
	if !r.o.WaitAll {
		// Helpers of a command often end a moment after it.
		grace, cancel := context.WithTimeout(ctx, leftGrace)
		defer cancel()
		if r.sandbox.WaitAll(grace) == nil {
			return
		}
		left = r.sandbox.Processes()
		r.left = true
		r.term.Say("the command has ended and left %s running, with a network that is not recorded any more: %s (--wait-all waits, --kill-all ends them)", processes(len(left)), names(left))
		return
	}
	r.term.Note("the command has ended; waiting for %s that it left running (Ctrl-C: no longer)", processes(len(left)))
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r.left = r.sandbox.WaitAll(ctx) != nil
}

// names tells processes as request lines do.
func names(pids []int) string {
	const most = 5
	var list []string
	for _, pid := range pids[:min(len(pids), most)] {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue // it has ended
		}
		list = append(list, fmt.Sprintf("%s[%d]", strings.TrimSpace(string(comm)), pid))
	}
	if len(pids) > most {
		list = append(list, "…")
	}
	return strings.Join(list, ", ")
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprint(n, " processes")
}

// drain ends the sources, which ends the decoders one after the other, and
// waits until the last record has been written out.
func (r *run) drain(out *outputs) {
	if err := r.ready("capture", r.captureReady); err != nil {
		r.fail(err)
	}
	limit := stopLimit + drainLimit
	select {
	case <-r.broken: // what cannot be stored any more need not be waited for
		limit = stopLimit
	default:
	}
	stop := func(name string) {
		if err := r.roles.Stop(name, limit); err != nil {
			r.fail(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { stop("keyhook") })
	wg.Go(func() {
		if r.left {
			r.roles.Leave("netd")
			r.life.Write([]byte{netd.Leave})
		} else {
			stop("netd") // before the capture, which then has all that it will ever see
		}
		if words := r.roles.LastWords("netd"); words != "" {
			r.term.Say("about the network:%s", words)
		}
		r.roles.Ending()
		stop("capture")
		go r.sandbox.Unplug() // meanwhile; close waits for it
	})
	wg.Wait()
	// No time limit as long as there is progress: a long backlog is no failure.
	for last := uint64(0); ; {
		select {
		case <-out.done:
			return
		case <-r.broken:
			return
		case <-time.After(drainLimit):
			now := out.progress.Load()
			if now == last {
				r.fail(fmt.Errorf("the decoders made no progress for %v (%s); the outputs may lack the last requests", drainLimit, r.running()))
				return
			}
			last = now
		}
	}
}

// running names the roles that have not ended.
func (r *run) running() string {
	var names []string
	for _, s := range r.roles.States() {
		if s.PID != 0 {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return "still running: " + strings.Join(names, ", ")
}

// stopCapture lets the app go on without being recorded.
func (r *run) stopCapture() {
	r.roles.Ending()
	if r.page != nil {
		capture.Abandon(r.page)
	}
}

// stay keeps the session while somebody looks at it in DevTools.
func (r *run) stay(ctx context.Context, code int) {
	if r.tools == nil || (!r.o.Stay && r.tools.clients() == 0) {
		return
	}
	intr := make(chan os.Signal, 1)
	signal.Notify(intr, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(intr)
	if r.o.Stay {
		r.term.Say("the command has ended (exit status %d); DevTools stays at %s until Ctrl-C", code, r.tools.url())
	} else {
		r.term.Say("the command has ended (exit status %d); DevTools is attached: Ctrl-C or closing DevTools ends the session", code)
	}
	for {
		select {
		case <-intr:
			return
		case <-ctx.Done():
			return
		case <-r.tools.changed:
			if !r.o.Stay && r.tools.clients() == 0 {
				return
			}
		}
	}
}

// waitForTaps lets the taps read to the end; one that does not read does not hold
// the session up for long.
func (r *run) waitForTaps() {
	if r.server == nil { // what others do on their server is theirs
		return
	}
	end := time.Now().Add(drainLimit)
	if r.failure() != nil { // a layer may have no end
		end = time.Now().Add(tapLimit)
	}
	last := int64(0)
	for since := time.Now(); time.Since(since) < tapLimit && time.Now().Before(end); time.Sleep(tapPoll) {
		n, asked := r.server.Clients(TapName)
		if n == 0 {
			return
		}
		if asked != last { // one that reads asks for more
			last, since = asked, time.Now()
		}
	}
}

// close ends what still runs and removes the session's directory. Taking the
// namespaces and the ring down costs the kernel about as long as the bus takes
// to shut down: they go side by side.
func (r *run) close() {
	if r.roles != nil {
		r.roles.StopAll(stopLimit)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if r.ring != nil {
			r.ring()
		}
		if r.sandbox != nil {
			r.sandbox.Close()
		}
		if r.shared != nil {
			r.shared.Close()
		}
		for _, f := range append(r.files, r.page) {
			f.Close() // a nil *os.File is fine
		}
		if r.tools != nil {
			r.tools.close()
		}
	})
	wg.Go(func() {
		r.leaveBus()
		if r.bus != nil {
			r.bus.Close()
		}
		switch {
		case r.server == nil:
		case r.released:
			r.server.Abandon()
		default: // it may still be making what the first processes asked for
			r.server.Close()
		}
	})
	wg.Wait()
	if r.session != nil {
		err := r.removeSession()
		if err != nil && r.server != nil {
			r.server.Close()
			err = r.removeSession()
		}
		if err != nil {
			r.term.Say("remove the session's directory: %v", err)
		}
	}
	if r.life != nil {
		r.life.Close() // from here on the directory is netd's, if any of it is left
	}
}

// removeSession removes the session's directory, but what processes that outlive
// the command still need of it.
func (r *run) removeSession() error {
	if !r.left {
		return r.session.Remove()
	}
	names, err := keyhook.Outlive(r.session.Dir)
	if err != nil {
		return err
	}
	return r.session.Leave(names)
}

func (r *run) facts() session.Facts {
	f := session.Facts{ID: r.session.ID, PID: os.Getpid(), Command: r.o.Command, Started: time.Now(), NATS: r.natsURL}
	if r.tools != nil {
		f.DevTools = r.tools.url()
	}
	return f
}
