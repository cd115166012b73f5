package cdpgw

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"clipper/cdpgw/internal/bodies"
	"clipper/cdpgw/internal/eventlog"

	"github.com/gorilla/websocket"
)

// Limits on a client.
const (
	maxClients    = 64
	maxMessage    = 16 << 20 // bytes of a call
	maxSessions   = 64       // of one client
	writeDeadline = 30 * time.Second
	pingEvery     = 20 * time.Second
	pongDeadline  = 60 * time.Second
	batchEvents   = 64 // events between two looks for replies
)

// frontendDelay is how long the history waits for a DevTools of the browser's
// own, which makes its Network panel after it attached. Ours makes it before.
const frontendDelay = time.Second

var upgrader = websocket.Upgrader{
	ReadBufferSize: 4 << 10, WriteBufferSize: 32 << 10, HandshakeTimeout: 10 * time.Second,
	CheckOrigin: func(*http.Request) bool { return true }, // ServeHTTP did
}

// client is one WebSocket. Its reader goroutine handles calls; its writer
// goroutine writes replies first and then what its sessions have to say. A
// slow client holds a cursor into the log and no queue.
type client struct {
	g       *Gateway
	number  uint64 // counts the clients
	ws      *websocket.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	root    scope
	browser bool // attached to the browser's endpoint: the root has no events
	own     bool // our own frontend

	replies chan reply
	wake    chan struct{}
	busy    chan struct{} // bounds the calls that wait for bodies

	mu       sync.Mutex
	sessions map[string]*session
	order    []*session
	attached int
}

// reply is a message to write. then runs after it was written, in the writer.
type reply struct {
	write func(io.Writer) error
	then  func()
}

// session is a client's view of a target, named by its CDP session id, "" for
// the target of the connection itself.
type session struct {
	id       string
	scope    scope
	network  time.Time // when its events begin; zero: not enabled
	debugger bool
	frontend bool // a DevTools, by the domains it enables

	// Of the writer:
	reader    *eventlog.Reader
	firstRow  uint64
	lastRow   uint64 // 0: no end
	processes int    // announced so far
	streams   map[string]*stream
}

// stream is a response whose bytes the client wants as they come.
type stream struct {
	key    bodies.Key
	offset int64
}

type clientSet struct {
	mu      sync.Mutex
	members map[*client]struct{}
	ever    bool
	number  uint64
}

func (s *clientSet) count() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.members), s.ever
}

func (s *clientSet) add(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members) >= maxClients {
		return false
	}
	s.members[c], s.ever = struct{}{}, true
	s.number++
	c.number = s.number
	return true
}

func (s *clientSet) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.members, c)
}

func (s *clientSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.members {
		c.cancel()
		c.ws.Close()
	}
}

// webSocket attaches a client to a target.
func (g *Gateway) webSocket(w http.ResponseWriter, r *http.Request, kind, id string) {
	scope, ok := g.target(id)
	if !ok || (kind != "page" && kind != "browser") {
		http.Error(w, "no such target", http.StatusNotFound)
		return
	}
	c := &client{
		g: g, root: scope, browser: kind == "browser", own: r.Header.Get("Origin") == "http://"+r.Host,
		replies: make(chan reply, 256), wake: make(chan struct{}, 1), busy: make(chan struct{}, 16),
		sessions: map[string]*session{},
	}
	c.addSession("", scope)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	defer c.cancel()
	if !g.clients.add(c) {
		http.Error(w, "too many DevTools are attached", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		g.conditions.leave(c)
		g.clients.remove(c)
		g.notify()
	}()
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c.ws = ws
	defer ws.Close()
	g.notify()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
		c.cancel()
		ws.Close()
	}()
	c.read()
	c.cancel()
	<-written
}

func (c *client) addSession(id string, s scope) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) >= maxSessions {
		return nil
	}
	n := &session{id: id, scope: s, streams: map[string]*stream{}}
	c.sessions[id] = n
	c.order = append(c.order, n)
	return n
}

func (c *client) removeSession(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	delete(c.sessions, id)
	for i, o := range c.order {
		if o == s {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
		}
	}
}

// read handles calls until the client goes.
func (c *client) read() {
	c.ws.SetReadLimit(maxMessage)
	_ = c.ws.SetReadDeadline(time.Now().Add(pongDeadline))
	c.ws.SetPongHandler(func(string) error { return c.ws.SetReadDeadline(time.Now().Add(pongDeadline)) })
	for {
		kind, b, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		_ = c.ws.SetReadDeadline(time.Now().Add(pongDeadline))
		if kind == websocket.TextMessage {
			c.call(b)
		}
	}
}

// send queues a message; it waits while the queue is full, which stops reading
// from a client that does not read.
func (c *client) send(r reply) {
	select {
	case c.replies <- r:
	case <-c.ctx.Done():
	}
}

// sendJSON queues v.
func (c *client) sendJSON(v any) {
	b := encode(v)
	c.send(reply{write: func(w io.Writer) error { _, err := w.Write(b); return err }})
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(`{"error":{"code":-32603,"message":"Internal error"}}`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// event queues an event of a session, outside of the log.
func (c *client) event(sessionID, method string, params any) {
	c.sendJSON(struct {
		Method    string `json:"method"`
		Params    any    `json:"params"`
		SessionID string `json:"sessionId,omitempty"`
	}{method, params, sessionID})
}

func (c *client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write is the writer goroutine.
func (c *client) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case r := <-c.replies:
			if c.writeReply(r) != nil {
				return
			}
			continue
		default:
		}
		changed, grown := c.g.log.Changed(), c.g.bodies.Changed()
		more, err := c.pump()
		if err != nil {
			return
		}
		if more {
			continue
		}
		if !c.streaming() {
			grown = nil
		}
		select {
		case r := <-c.replies:
			if c.writeReply(r) != nil {
				return
			}
		case <-changed:
		case <-grown:
		case <-c.wake:
		case <-ping.C:
			if c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeDeadline)) != nil {
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *client) writeReply(r reply) error {
	err := c.message(r.write)
	if err == nil && r.then != nil {
		r.then()
	}
	return err
}

// message writes one WebSocket message.
func (c *client) message(write func(io.Writer) error) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeDeadline))
	w, err := c.ws.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return err
	}
	return w.Close()
}

func (c *client) streaming() bool {
	for _, s := range c.snapshot() {
		if len(s.streams) > 0 {
			return true
		}
	}
	return false
}

func (c *client) snapshot() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order[:len(c.order):len(c.order)]
}

// pump writes some of what each session has to say, and reports whether there
// may be more at once.
func (c *client) pump() (more bool, err error) {
	for _, s := range c.snapshot() {
		c.mu.Lock()
		begin, debugger := s.network, s.debugger
		c.mu.Unlock()
		if debugger {
			if err := c.announce(s); err != nil {
				return false, err
			}
		}
		if begin.IsZero() {
			continue
		}
		if wait := time.Until(begin); wait > 0 {
			time.AfterFunc(wait, c.nudge)
			continue
		}
		if s.reader == nil {
			if err := c.begin(s); err != nil {
				return false, err
			}
		}
		if err := c.pumpStreams(s); err != nil {
			return false, err
		}
		n, err := s.reader.Next(batchEvents, func(e eventlog.Entry) error { return c.writeEntry(s, e) })
		if err != nil {
			return false, err
		}
		more = more || n > 0
	}
	return more, nil
}

// begin sets the cursor of a session, and tells what its history leaves out.
func (c *client) begin(s *session) error {
	g, size := c.g, uint64(c.g.o.MaxHistory)
	rows := g.log.Rows()
	s.firstRow = 1
	switch {
	case s.scope.page > 0:
		s.firstRow = uint64(s.scope.page-1)*size + 1
		s.lastRow = s.firstRow + size - 1
	case s.scope.pid == 0 && rows > size:
		s.firstRow = rows - size + 1
	}
	s.reader = g.log.NewReader(g.log.Start(s.firstRow))
	if s.scope.page == 0 && s.firstRow > 1 {
		return c.writeOmission(s, s.firstRow-1)
	}
	return nil
}

// writeEntry writes an event of the log if it belongs to the session.
func (c *client) writeEntry(s *session, e eventlog.Entry) error {
	if e.Exchange < s.firstRow || (s.lastRow > 0 && e.Exchange > s.lastRow) || (s.scope.pid > 0 && s.scope.pid != e.PID) {
		return nil
	}
	// A process was announced before its first event was logged.
	c.mu.Lock()
	debugger := s.debugger
	c.mu.Unlock()
	if debugger {
		if err := c.announce(s); err != nil {
			return err
		}
	}
	return c.message(func(w io.Writer) error { return writeEvent(w, e.Text, s.id) })
}

func writeEvent(w io.Writer, text []byte, sessionID string) error {
	if _, err := w.Write([]byte{'{'}); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	tail := "}"
	if sessionID != "" {
		tail = `,"sessionId":` + strconv.Quote(sessionID) + "}"
	}
	_, err := io.WriteString(w, tail)
	return err
}

// announce writes Debugger.scriptParsed for each process that is new to s.
func (c *client) announce(s *session) error {
	g := c.g
	for {
		g.mu.Lock()
		if s.processes >= len(g.processes) {
			g.mu.Unlock()
			return nil
		}
		script := g.processes[s.processes].Script()
		s.processes++
		g.mu.Unlock()
		text := append([]byte(`"method":"Debugger.scriptParsed","params":`), encode(script)...)
		if err := c.message(func(w io.Writer) error { return writeEvent(w, text, s.id) }); err != nil {
			return err
		}
	}
}
