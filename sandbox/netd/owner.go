//go:build linux

package netd

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clipper/bus"
	"clipper/sandbox/internal/netns"
	"clipper/sandbox/internal/sockdiag"

	"golang.org/x/sys/unix"
)

// owners finds out which process opened a flow. It works beside the packets:
// what it cannot keep up with, it leaves out.
type owners struct {
	diag *sockdiag.Conn
	ns   netns.ID
	tell func(bus.ProcEvent)
	c    chan flow
	lost atomic.Uint64 // flows left out

	byInode map[uint32]int // process of a socket, as of the last look
}

type flow struct {
	transport     string
	local, remote netip.AddrPort
	time          time.Time
	blocked       bool   // by DevTools, rather than opened
	asked         func() // no flow: called when those before it are answered
}

const ownerQueue = 4096 // flows

// newOwners returns nil, which asks nothing, if tell is nil.
func newOwners(diagFD int, diag *sockdiag.Conn, tell func(bus.ProcEvent)) (*owners, error) {
	if tell == nil || diag == nil {
		return nil, nil
	}
	ns, err := netns.OfSocket(diagFD)
	if err != nil {
		return nil, err
	}
	return &owners{diag: diag, ns: ns, tell: tell, c: make(chan flow, ownerQueue), byInode: map[uint32]int{}}, nil
}

// ask queues a flow that has just begun.
func (o *owners) ask(transport string, local, remote netip.AddrPort) {
	if o == nil {
		return
	}
	select {
	case o.c <- flow{transport: transport, local: local, remote: remote, time: time.Now()}:
	default:
		o.lost.Add(1)
	}
}

// blocked queues that a flow was refused or cut.
func (o *owners) blocked(f bus.Flow) {
	select {
	case o.c <- flow{transport: f.Transport, local: f.Client, remote: f.Server, time: time.Now(), blocked: true}:
	default:
		o.lost.Add(1)
	}
}

// settleLimit is how long a refusal waits for the name of who is refused.
const settleLimit = 50 * time.Millisecond

// settle calls f when the flows that were asked for are answered, but not late:
// a socket that is refused is gone, and with it the way to its process.
func (o *owners) settle(f func()) {
	if o == nil {
		f()
		return
	}
	f = sync.OnceFunc(f)
	select {
	case o.c <- flow{asked: f}:
		time.AfterFunc(settleLimit, f)
	default:
		f()
	}
}

// run answers until stop is closed, and then what is still queued.
func (o *owners) run(stop <-chan struct{}) {
	for {
		select {
		case f := <-o.c:
			o.answer(f)
		case <-stop:
			for {
				select {
				case f := <-o.c:
					o.answer(f)
				default:
					return
				}
			}
		}
	}
}

func (o *owners) answer(f flow) {
	if f.asked != nil {
		f.asked()
		return
	}
	if f.blocked {
		o.tell(bus.ProcEvent{Type: bus.ProcBlocked, Time: f.time.UnixNano(), Transport: f.transport, Local: f.local, Remote: f.remote})
		return
	}
	transport := byte(unix.IPPROTO_TCP)
	if f.transport == "udp" {
		transport = unix.IPPROTO_UDP
	}
	s, ok, err := o.diag.Lookup(transport, f.local, f.remote)
	if !ok || err != nil || s.Inode == 0 {
		return // closed already
	}
	if pid := o.process(s.Inode); pid != 0 {
		o.tell(bus.ProcEvent{Type: bus.ProcSocket, Time: f.time.UnixNano(), PID: pid, Transport: f.transport, Local: f.local, Remote: f.remote})
	}
}

// process is the process that has a socket, 0 if there is none.
func (o *owners) process(inode uint32) int {
	if pid := o.byInode[inode]; pid != 0 {
		return pid
	}
	// A process that opened one socket is likely to have opened this one.
	for _, pid := range o.recent() {
		if o.look(pid, inode) {
			return pid
		}
	}
	// The newest come first, as what lives for a moment has to be found at once;
	// it may have the socket from its parent.
	clear(o.byInode)
	netns.Processes(o.ns, func(pid int) bool { return !o.look(pid, inode) })
	for pid := o.byInode[inode]; pid != 0 && o.look(pid, inode); pid = parent(pid) {
		o.byInode[inode] = pid
	}
	return o.byInode[inode]
}

// parent is the process that started another, 0 if that has gone.
func parent(pid int) int {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name before may hold anything
	if len(fields) < 2 {
		return 0
	}
	pid, _ = strconv.Atoi(fields[1])
	return pid
}

// recent lists the processes with known sockets.
func (o *owners) recent() []int {
	seen := map[int]bool{}
	var list []int
	for _, pid := range o.byInode {
		if !seen[pid] {
			seen[pid] = true
			list = append(list, pid)
		}
	}
	return list
}

// look notes the sockets of a process, and reports whether inode is among them.
func (o *owners) look(pid int, inode uint32) (found bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		link, err := os.Readlink(dir + "/" + name)
		if err != nil || !strings.HasPrefix(link, "socket:[") {
			continue
		}
		n, err := strconv.ParseUint(link[len("socket:["):len(link)-1], 10, 32)
		if err != nil {
			continue
		}
		if _, ok := o.byInode[uint32(n)]; !ok {
			o.byInode[uint32(n)] = pid
		}
		found = found || uint32(n) == inode
	}
	return found
}
