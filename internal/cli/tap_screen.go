package cli

import (
	"context"
	"errors"
	"os"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/internal/sink"
	"clipper/internal/tui"
)

// tapScreen shows a session full-screen until the user leaves the view, also when the
// session has ended meanwhile.
func tapScreen(ctx context.Context, b *natsbus.Bus, ch choice, title string) error {
	v, err := tui.New(tui.Options{Title: title})
	if err != nil {
		return err
	}
	s, err := sink.New(sink.Options{Live: true, Dir: os.TempDir(), View: v, Filter: ch.filter, Redact: ch.redact})
	if err != nil {
		v.Close()
		return err
	}
	following, leave := context.WithCancel(ctx)
	followed := make(chan error, 1)
	v.Status("running")
	go func() {
		err := followInto(following, b, s.Process, bus.HTTP, bus.Body, bus.Proc)
		b.Close() // the session waits for those who read it
		s.Flush()
		v.Status("ended")
		if err != nil {
			v.Status(err.Error())
		}
		followed <- err
	}()
	err = v.Run(context.WithoutCancel(ctx))
	leave()
	if failed := <-followed; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	v.Release()
	return errors.Join(err, s.Close())
}
