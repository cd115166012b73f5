package up

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"clipper/cdpgw"
	"clipper/internal/browser"
	"clipper/internal/roles"
)

// devTools is the spawner's side of the DevTools gateway. The listening socket
// is the spawner's, so that the gateway can be killed and comes back at the same address.
type devTools struct {
	listener *os.File
	status   *os.File // the gateway writes cdpgw.Status lines into the other end
	options  cdpgw.Options
	files    []*os.File
	access   string
	changed  chan struct{} // something came on status
	ended    func()        // the gateway's process has ended

	mu   sync.Mutex
	last cdpgw.Status
}

func newDevTools(r *run) (*devTools, error) {
	l, err := listen(r.o.Address)
	if err != nil {
		return nil, fmt.Errorf("listen for DevTools: %w (choose another address with --devtools=HOST:PORT, or --no-devtools)", err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	status, statusIn, err := os.Pipe()
	if err != nil {
		f.Close()
		return nil, err
	}
	d := &devTools{listener: f, status: status, files: []*os.File{f, statusIn}, access: r.access, changed: make(chan struct{}, 1), ended: r.conditions.undo}
	d.options = cdpgw.Options{ListenFD: 3, StatusFD: 4, SecretPath: cdpgw.NewSecretPath(), Discovery: true,
		Title: strings.Join(r.o.Command, " "), AppPID: r.sandbox.PID, SessionDir: r.session.Dir}
	d.last.URL = fmt.Sprintf("http://%s/", l.Addr())
	go d.read()
	return d, nil
}

// usualAddress is where chrome://inspect looks, and where the frontend finds its
// settings again: a browser keeps them by address.
const usualAddress = "127.0.0.1:9229"

func listen(addr string) (net.Listener, error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	if l, err := net.Listen("tcp", usualAddress); err == nil {
		return l, nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (d *devTools) spec() roles.Spec {
	return roles.Spec{Name: "cdpgw", Access: d.access, Files: d.files, Options: d.options, Ended: d.ended}
}

// read follows what the gateway says of itself, also after a restart.
func (d *devTools) read() {
	lines := bufio.NewScanner(d.status)
	for lines.Scan() {
		var s cdpgw.Status
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			continue
		}
		d.mu.Lock()
		d.last = s
		d.mu.Unlock()
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}
}

func (d *devTools) url() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last.URL
}

// openBrowser shows DevTools if that is wanted. That it can't is no reason not to
// go on: the address is on the terminal.
func (r *run) openBrowser() {
	if !r.o.Open {
		return
	}
	say := func(err error) { r.term.Say("%v", err) }
	if err := browser.Open(r.tools.url(), say); err != nil {
		say(err)
	}
}

// clients is how many DevTools are attached now.
func (d *devTools) clients() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last.Clients
}

func (d *devTools) close() {
	for _, f := range d.files {
		f.Close()
	}
	d.status.Close()
}
