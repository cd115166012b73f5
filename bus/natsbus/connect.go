package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"
)

// Bus is a process's connection to a session's bus. It is safe for use by
// several goroutines.
type Bus struct {
	access Access
	main   *link
	keys   *link // nil without the right to Keys
}

// link is one connection: the Keys layer has an account, hence a connection, of its own.
type link struct {
	nc *nats.Conn
	js jetstream.JetStream
	// denied are the subjects, with the error, that the server refused. It tells
	// so on the side, and never answers the request itself.
	denied sync.Map
	// gone ends when the connection is given up.
	gone context.Context
}

// ErrGone says that the server of the session, or the session on it, is no more.
var ErrGone = errors.New("natsbus: the server of the session is gone")

// reconnects is how often a process tries to find the embedded server again,
// about every 60 ms: it lives as long as the session, and comes back at once or
// never. A cluster is waited for without end.
const reconnects = 150

// Connect connects; name is the role, as NATS shows it. A lost connection is
// made again, to the embedded server for about ten seconds, then everything
// fails with ErrGone; to a cluster for ever.
func Connect(ctx context.Context, a Access, name string) (*Bus, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	b := &Bus{access: a}
	var err error
	if b.main, err = dial(ctx, a, a.Seed, a.Creds, name); err != nil {
		return nil, err
	}
	if !a.HasKeys() {
		return b, nil
	}
	if b.keys, err = dial(ctx, a, a.KeysSeed, a.KeysCreds, name+"-keys"); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func dial(ctx context.Context, a Access, seed, creds, name string) (*link, error) {
	gone, lost := context.WithCancelCause(context.Background())
	l := &link{gone: gone}
	inbox := "_INBOX_" + nuid.Next()
	o := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(inbox),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(reconnects),
		nats.ClosedHandler(func(*nats.Conn) { lost(ErrGone) }),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 50*time.Millisecond),
		nats.ReconnectBufSize(-1), // nothing is published behind a publisher's back
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				_, subject, _ := strings.Cut(err.Error(), `"`)
				subject, _, _ = strings.Cut(subject, `"`)
				l.denied.Store(subject, err)
			}
		}),
	}
	url := a.URL
	if a.InProcess != nil {
		o = append(o, nats.InProcessServer(a.InProcess))
		url = nats.DefaultURL // not dialled
	}
	if seed != "" {
		kp, err := nkeys.FromSeed([]byte(seed))
		if err != nil {
			return nil, fmt.Errorf("natsbus: seed of the access: %w", err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("natsbus: seed of the access: %w", err)
		}
		o = append(o, nats.Nkey(public, kp.Sign))
	}
	if creds != "" {
		o = append(o, nats.UserCredentials(creds), nats.MaxReconnects(-1))
	}
	if a.CA != "" {
		o = append(o, nats.RootCAs(a.CA))
	}
	if d, ok := ctx.Deadline(); ok {
		o = append(o, nats.Timeout(min(time.Until(d), 5*time.Second)))
	}
	var err error
	if l.nc, err = nats.Connect(url, o...); err != nil {
		return nil, fmt.Errorf("natsbus: connect to %s: %w", a.URL, err)
	}
	if n := l.nc.MaxPayload(); n < bus.MaxBatch {
		l.nc.Close()
		return nil, fmt.Errorf("natsbus: the server at %s takes messages of %d bytes at most; max_payload must be %d or more", a.URL, n, bus.MaxBatch)
	}
	if l.js, err = jetstream.New(l.nc); err != nil {
		l.nc.Close()
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	return l, nil
}

// explain adds what the server refused to an error that may be its consequence.
func (l *link) explain(err error) error {
	if l.gone.Err() != nil {
		return ErrGone
	}
	l.denied.Range(func(_, denied any) bool {
		err = fmt.Errorf("%w (%w)", err, denied.(error))
		return false
	})
	return err
}

// refused is the server's refusal of a subject.
func (l *link) refused(subject string) error {
	if err, ok := l.denied.Load(subject); ok {
		return err.(error)
	}
	return nil
}

// watch is ctx, ended when the connection is given up.
func (l *link) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.gone, func() { cancel(ErrGone) })
	return ctx, func() { stop(); cancel(nil) }
}

// Session is the session id.
func (b *Bus) Session() string { return b.access.Session }

// Partitions is the number of partitions of the partitioned layers.
func (b *Bus) Partitions() int { return b.access.Partitions }

// Conn is the connection to every layer but Keys, for control subjects.
func (b *Bus) Conn() *nats.Conn { return b.main.nc }

// CtlSubject is the core NATS subject clipper.<session>.ctl.<name>.
func (b *Bus) CtlSubject(name string) string { return "clipper." + b.access.Session + ".ctl." + name }

// Close closes the connection. Publishers are flushed by their own Close.
func (b *Bus) Close() {
	b.main.nc.Close()
	if b.keys != nil {
		b.keys.nc.Close()
	}
}

// link is the connection that reaches a layer.
func (b *Bus) link(l bus.Layer) (*link, error) {
	if l != bus.Keys {
		return b.main, nil
	}
	if b.keys == nil {
		return nil, errors.New("natsbus: the access has no right to the keys layer")
	}
	return b.keys, nil
}

func (b *Bus) jetstream(l bus.Layer) jetstream.JetStream {
	if l == bus.Keys {
		return b.keys.js
	}
	return b.main.js
}
