package up

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"clipper/bus/natsbus"
	"github.com/rs/zerolog"
)

// joinLimit is how long a NATS server of others may take to give the session its
// streams, or to take them back.
const joinLimit = 20 * time.Second

// joinBus puts the session on a NATS server that is there already.
func (r *run) joinBus(ctx context.Context) error {
	a := natsbus.Access{URL: r.o.NATS, Session: r.session.ID, Partitions: r.o.Partitions, Creds: r.o.Creds, KeysCreds: r.o.KeysCreds, CA: r.o.CA}
	for _, file := range []*string{&a.Creds, &a.KeysCreds, &a.CA} {
		if *file == "" {
			continue
		}
		path, err := filepath.Abs(*file)
		if err != nil {
			return err
		}
		*file = path
	}
	if a.KeysCreds == "" {
		a.KeysCreds = a.Creds
	}
	for path, access := range map[string]natsbus.Access{r.access: a.WithoutKeys(), r.keysAccess: a, r.session.Path("tap.json"): a.WithoutKeys()} {
		if err := access.WriteFile(path); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	var err error
	if r.bus, err = natsbus.Connect(ctx, a, "up"); err != nil {
		return fmt.Errorf("--nats: %w", err)
	}
	r.natsURL = withoutUser(r.o.NATS)
	if err := r.bus.CreateStreams(ctx, natsbus.StreamConfig{StreamBytes: r.o.NATSMax}); err != nil {
		return fmt.Errorf("--nats: %w (the account needs JetStream, with room for the session's streams: --nats-max makes them smaller)", err)
	}
	trim, stop := context.WithCancel(context.Background()) // the decoders end after the command
	r.stopTrim = stop
	go r.bus.Trim(trim, zerolog.Nop())
	return nil
}

// leaveBus removes the session from a server of others.
func (r *run) leaveBus() {
	if r.server != nil || r.bus == nil {
		return
	}
	if r.stopTrim != nil {
		r.stopTrim()
	}
	ctx, cancel := context.WithTimeout(context.Background(), joinLimit)
	defer cancel()
	if err := r.bus.DeleteStreams(ctx); err != nil {
		r.term.Say("the session's streams are left on %s: %v", r.natsURL, err)
	}
}

// withoutUser is a list of URLs without the credentials in them.
func withoutUser(list string) string {
	urls := strings.Split(list, ",")
	for i, text := range urls {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			u.User = nil
			urls[i] = u.String()
		}
	}
	return strings.Join(urls, ",")
}
