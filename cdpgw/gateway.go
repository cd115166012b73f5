package cdpgw

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/bodies"
	"clipper/cdpgw/internal/eventlog"
	"clipper/cdpgw/internal/spill"
	"clipper/cdpgw/internal/translate"
)

// Gateway is a CDP server over the records that Process gets.
type Gateway struct {
	o      Options
	ln     net.Listener
	server *http.Server
	file   *spill.File
	log    *eventlog.Log
	bodies *bodies.Store
	plain  plainStore

	mu        sync.Mutex // of the translator and what it announces
	translate *translate.Translator
	processes []*translate.Process
	failure   error // of the encoding: a defect
	alarm     chan struct{}
	newcomers chan struct{} // a connection may have got a name while conditions hold

	clients    clientSet
	conditions conditions
	done       chan struct{}
	close      sync.Once
	telling    sync.Mutex
}

// New listens and serves at once; clients that come before the first record
// wait for it. Close, or the end of Serve, frees everything.
func New(o Options) (*Gateway, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ln, err := listen(o)
	if err != nil {
		return nil, err
	}
	file := spill.New(o.SessionDir)
	g := &Gateway{
		o: o, ln: ln, file: file,
		log:       eventlog.New(file),
		bodies:    bodies.New(file, o.BodyMemory, o.BodyDisk),
		alarm:     make(chan struct{}, 1),
		newcomers: make(chan struct{}, 1),
		done:      make(chan struct{}),
	}
	g.conditions.apply, g.conditions.flows = o.Conditions, g.flowsOf
	g.clients.members = map[*client]struct{}{}
	g.translate = translate.New(func(e translate.Event) {
		if err := g.log.Append(e.Method, e.Params, e.PID, e.Exchange); err != nil && g.failure == nil {
			g.failure = err
		}
	}, func(p *translate.Process) { g.processes = append(g.processes, p) })
	g.server = &http.Server{
		Handler: g, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(discard{}, "", 0), ConnContext: withPeer,
	}
	go g.server.Serve(ln)
	go g.expire()
	go g.watchNewcomers()
	return g, nil
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// Serve runs a gateway in this process: it listens, hands feed the function
// that takes records of the layers HTTP, Body and Proc (from any number of
// goroutines), and serves until ctx ends, also after feed returned.
// An error of feed ends it.
func Serve(ctx context.Context, o Options, feed func(process func(*bus.Record)) error) error {
	g, err := New(o)
	if err != nil {
		return err
	}
	defer g.Close()
	g.notify()
	failed := make(chan error, 1)
	go func() {
		err := feed(g.Process)
		if err != nil {
			failed <- err
			return
		}
		g.Flush()
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// Process takes one record of the layers HTTP, Body or Proc, and of Plain unless
// Options has its own way to that; others are ignored. It keeps neither the record nor its payload. Any goroutine may call
// it. What it can't read, it ignores: the writer of the layer answers for that.
func (g *Gateway) Process(r *bus.Record) {
	switch r.Layer {
	case bus.Plain:
		if g.o.Plain == nil {
			g.plain.add(r)
		}
	case bus.Body:
		if r.Type == bus.BodyBytes {
			g.bodies.Add(bodies.Key{Conn: r.Conn, Stream: r.Stream, Dir: r.Dir}, r.Offset, r.Payload)
		}
	case bus.HTTP:
		if e, ok := event[bus.Event](r); ok {
			g.http(e)
		}
	case bus.Proc:
		if e, ok := event[bus.ProcEvent](r); ok {
			g.mu.Lock()
			g.translate.Proc(e, time.Now())
			g.mu.Unlock()
			g.wake()
		}
	}
}

// event is the typed form of a record of a JSON layer.
func event[E any](r *bus.Record) (*E, bool) {
	if e, ok := r.Event.(*E); ok {
		return e, e != nil
	}
	if e, ok := r.Event.(E); ok {
		return &e, true
	}
	if r.Type != bus.Line || len(r.Payload) == 0 {
		return nil, false
	}
	var e E
	return &e, json.Unmarshal(r.Payload, &e) == nil
}

func (g *Gateway) http(e *bus.Event) {
	key := bodies.Key{Conn: e.Conn, Stream: e.Stream, Dir: e.Dir}
	switch {
	case e.Type == bus.EventData && e.Data != nil:
		g.bodies.Announce(key, e.Data.Offset+e.Data.Decoded)
	case e.Type == bus.EventEnd && e.End != nil && e.End.Decoded > 0:
		g.bodies.Announce(key, e.End.Decoded)
	}
	if e.Type == bus.EventRequest && g.o.Plain == nil {
		g.plain.isHTTP(e.Conn)
	}
	g.mu.Lock()
	g.translate.HTTP(e, time.Now())
	g.mu.Unlock()
	g.wake()
	if (e.Type == bus.EventConnection || e.Type == bus.EventRequest) && g.conditions.active.Load() {
		select {
		case g.newcomers <- struct{}{}:
		default:
		}
	}
}

// Flush shows what still waits for later records: there are none.
func (g *Gateway) Flush() {
	g.mu.Lock()
	g.translate.Flush(time.Now())
	g.mu.Unlock()
}

func (g *Gateway) wake() {
	select {
	case g.alarm <- struct{}{}:
	default:
	}
}

// expire lets events go that waited long enough.
func (g *Gateway) expire() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-g.alarm:
		case <-timer.C:
		}
		g.mu.Lock()
		g.translate.Expire(time.Now())
		next, ok := g.translate.Deadline()
		g.mu.Unlock()
		timer.Stop()
		if ok {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// watchNewcomers lets the conditions hold for connections that come to be known.
func (g *Gateway) watchNewcomers() {
	for {
		select {
		case <-g.done:
			return
		case <-g.newcomers:
			g.conditions.refresh()
		}
	}
}

// Status is the present state: the URLs and how many clients are attached.
func (g *Gateway) Status() Status {
	clients, ever := g.clients.count()
	host := g.ln.Addr().String()
	url := "http://" + host + "/"
	if !g.o.Discovery {
		url += g.o.SecretPath + "/"
	}
	return Status{URL: url, DevToolsURL: bundledFrontend(host, g.o.SecretPath), Clients: clients, EverAttached: ever}
}

// Close disconnects the clients and frees what the gateway holds.
func (g *Gateway) Close() error {
	var err error
	g.close.Do(func() {
		close(g.done)
		err = g.server.Close()
		g.clients.closeAll()
		err = errors.Join(err, g.file.Close())
	})
	return err
}
