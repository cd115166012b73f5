package up

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"clipper/internal/tui"

	xterm "golang.org/x/term"
)

// screen is the full-screen view of a session that runs. While it has the terminal,
// what the command would print there is kept and shown in it; streams of the
// command that lead elsewhere stay as they are. The command's standard input is
// empty if it would be the terminal.
type screen struct {
	r     *run
	view  *tui.View
	stdio [3]*os.File // of the command; nil: the process's own
	pipes []*os.File  // the ends of stdio that are the command's
	reads sync.WaitGroup
	end   context.CancelFunc // nil: it was never shown
	shown chan struct{}      // closed when the view has given the terminal back
}

// outputWait is how long the last words of the command may take to come.
const outputWait = time.Second

func newScreen(r *run) (*screen, error) {
	s := &screen{r: r, shown: make(chan struct{})}
	var err error
	s.view, err = tui.New(tui.Options{Title: strings.Join(r.o.Command, " "), Interrupt: s.interrupt})
	if err != nil {
		return nil, err
	}
	if err := s.redirect(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// redirect leads the command's streams away from the terminal.
func (s *screen) redirect() error {
	for i, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if !xterm.IsTerminal(int(f.Fd())) {
			continue
		}
		if i == 0 {
			null, err := os.Open(os.DevNull)
			if err != nil {
				return err
			}
			s.stdio[i], s.pipes = null, append(s.pipes, null)
			continue
		}
		here, there, err := os.Pipe()
		if err != nil {
			return err
		}
		s.stdio[i], s.pipes = there, append(s.pipes, there)
		s.reads.Go(func() {
			defer here.Close()
			io.Copy(s.view.Output(f), here)
		})
	}
	return nil
}

// started lets go of what is the command's now.
func (s *screen) started() {
	for _, f := range s.pipes {
		f.Close()
	}
	s.pipes = nil
}

// interrupt is Ctrl-C in the view: the terminal sends no signal meanwhile.
func (s *screen) interrupt() bool {
	select {
	case <-s.r.sandbox.Done():
		return false
	default:
		return s.r.sandbox.Signal(syscall.SIGINT) == nil
	}
}

// show takes the terminal.
func (s *screen) show(ctx context.Context) {
	ctx, s.end = context.WithCancel(ctx)
	status := "running"
	if s.r.tools != nil {
		status = s.r.tools.url() + "  " + status
	}
	s.view.Status(status)
	back := s.r.term.Divert(s.view.Output(os.Stderr))
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangup)
		select {
		case <-hangup: // the terminal is gone, and who could leave the view with it
			s.end()
		case <-s.shown:
		}
	}()
	go func() {
		err := s.view.Run(ctx)
		back()
		s.view.Release()
		if err != nil {
			s.r.term.Say("%v", err)
		}
		close(s.shown)
	}()
}

// wait keeps the view of a session whose command has ended, until the user leaves it.
func (s *screen) wait(code int) {
	done := make(chan struct{})
	go func() { s.reads.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(outputWait): // somebody whom the command left running has its output
	}
	s.view.Status(fmt.Sprintf("ended (exit status %d)", code))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	select {
	case <-s.shown:
	case <-ctx.Done():
	}
	s.close()
}

// close gives the terminal back.
func (s *screen) close() {
	s.started()
	if s.end == nil { // it was never shown
		s.view.Close()
		return
	}
	s.end()
	<-s.shown
}
