package cdpgw

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"

	"clipper/bus"
	"clipper/bus/natsbus"
)

// Options configure a gateway. The zero value listens on a free loopback port.
type Options struct {
	// Addr is the address to listen on, "127.0.0.1:0" when empty. It must be a
	// loopback address.
	Addr string `json:"addr,omitempty"`
	// ListenFD is an inherited descriptor that listens already; it wins over
	// Addr. A spawner that keeps the socket open and passes it again after a
	// crash keeps the port, so that an open DevTools reconnects. 0: none.
	ListenFD int `json:"listenFd,omitempty"`
	// SecretPath is the unguessable first element of the page's path and the id
	// of the session's target: 16 to 64 letters, digits, '-' or '_'. A spawner
	// makes it (NewSecretPath) so that it survives a restart. Empty: a new one.
	SecretPath string `json:"secretPath,omitempty"`
	// Discovery serves /json/list and makes / lead to the page, both without
	// knowledge of SecretPath, as Chrome itself does. Without it only the full
	// URL works and chrome://inspect does not find the session.
	Discovery bool `json:"discovery,omitempty"`
	// Title is the target's name: the command line of the app.
	Title string `json:"title,omitempty"`
	// AppPID is the host's pid of the app, 0 when unknown.
	AppPID int `json:"appPid,omitempty"`
	// SessionDir takes the unlinked spill file; the system's directory for
	// temporary files when empty.
	SessionDir string `json:"sessionDir,omitempty"`
	// StatusFD is an inherited descriptor to which the role writes Status lines:
	// one when it serves, then one whenever the number of clients changes. 0: none.
	StatusFD int `json:"statusFd,omitempty"`
	// MaxHistory is how many of the newest exchanges a client that attaches late
	// gets; 5000 when 0. The rest are on /SECRETPATH/?page=N.
	MaxHistory int `json:"maxHistory,omitempty"`
	// BodyMemory and BodyDisk bound what is kept of bodies, in bytes: 24 MiB and
	// 2 GiB when 0. Beyond both the oldest are forgotten, and say so when asked for.
	BodyMemory int64 `json:"bodyMemory,omitempty"`
	BodyDisk   int64 `json:"bodyDisk,omitempty"`

	// Plain, in the same process, reads what is stored of a connection on the
	// layer Plain, in order, until each returns false, so that the rows of
	// connections that are not HTTP show their bytes. Nil: Process gets the layer.
	// The role has its own.
	Plain func(ctx context.Context, conn bus.ConnID, each func(*bus.Record) bool) error `json:"-"`

	// Conditions, in the same process, puts what DevTools asks of the app's network
	// in force: throttling, offline, blocked hosts. Nil: it can't be changed, as
	// that of a recording. The role has its own.
	Conditions func(bus.Conditions) error `json:"-"`

	// OnStatus, in the same process, gets what StatusFD gets. It is called from
	// one goroutine at a time and must not block.
	OnStatus func(Status) `json:"-"`
}

// Status is what a gateway tells its spawner, one JSON object a line on
// StatusFD. After a restart Clients and EverAttached start anew; the spawner
// adds them up.
type Status struct {
	URL          string `json:"url"`          // http://127.0.0.1:PORT/, or with the secret path without Discovery
	DevToolsURL  string `json:"devtoolsUrl"`  // for the browser's own frontend
	Clients      int    `json:"clients"`      // DevTools (WebSocket clients) attached now
	EverAttached bool   `json:"everAttached"` // one was attached since this gateway started
}

// OptionsFromEnv reads natsbus.OptionsEnv; unset means the zero Options.
func OptionsFromEnv() (Options, error) {
	var o Options
	if err := natsbus.RoleOptions(&o); err != nil {
		return o, fmt.Errorf("cdpgw: %w", err)
	}
	return o, nil
}

// NewSecretPath makes a SecretPath with 128 bits or more of randomness.
func NewSecretPath() string { return strings.ToLower(rand.Text()) }

// Limits when Options has none.
const (
	defaultHistory    = 5000
	defaultBodyMemory = 24 << 20
	defaultBodyDisk   = 2 << 30
)

// withDefaults checks o and fills what is empty.
func (o Options) withDefaults() (Options, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return o, fmt.Errorf("cdpgw: address %q: %w", o.Addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return o, fmt.Errorf("cdpgw: address %q: only a loopback address such as 127.0.0.1:9229 is safe, since DevTools shows decrypted traffic", o.Addr)
	}
	if o.SecretPath == "" {
		o.SecretPath = NewSecretPath()
	}
	if !validSecretPath(o.SecretPath) {
		return o, errors.New("cdpgw: the secret path needs 16 to 64 letters, digits, '-' or '_'")
	}
	if o.Title == "" {
		o.Title = "Clipper"
	}
	if o.MaxHistory <= 0 {
		o.MaxHistory = defaultHistory
	}
	if o.BodyMemory <= 0 {
		o.BodyMemory = defaultBodyMemory
	}
	if o.BodyDisk <= 0 {
		o.BodyDisk = defaultBodyDisk
	}
	return o, nil
}

func validSecretPath(s string) bool {
	if len(s) < 16 || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
