//go:build linux

package netd

import (
	"clipper/bus"
)

// Options of the role, as JSON in natsbus.OptionsEnv. Descriptors are numbers in the process of the role.
type Options struct {
	TunFD int `json:"tunFd"`
	// LoopbackFD is a packet socket on lo of the sandbox, with virtio headers: the way
	// for packets to ::1. 0: there is none, and ::1 is the sandbox's own.
	LoopbackFD int `json:"loopbackFd,omitempty"`

	DiagFD int  `json:"diagFd"` // NETLINK_SOCK_DIAG of the sandbox; 0: nothing inside is reflected, no owners
	MTU    int  `json:"mtu"`    // of the tun; 0: 65520
	IPv6   bool `json:"ipv6"`   // whether the sandbox has IPv6

	// PacketFD and PageFD are the packet socket that capture.Setup was done on, or
	// is being done, and the page of capture.NewPage, for the gate. 0: no gate.
	PacketFD    int `json:"packetFd,omitempty"`
	PageFD      int `json:"pageFd,omitempty"`
	GatePercent int `json:"gatePercent,omitempty"` // fill of the ring at which TCP waits; 0: 50

	// ReadyFD gets one byte when packets flow and the published ports listen,
	// or the text of the error that prevents it; then it is closed. 0: nobody asks.
	ReadyFD int `json:"readyFd,omitempty"`

	// LifeFD is the reading end of a pipe whose other end only the spawner has.
	// It gets Leave when the spawner ends and other processes stay; closed without
	// that, the spawner was killed, of which no death signal may tell netd. 0: netd
	// ends with its parent.
	LifeFD int `json:"lifeFd,omitempty"`
	// ListenerFD is the seccomp listener of the sandbox, which netd answers from
	// Leave on. 0: there is none.
	ListenerFD int `json:"listenerFd,omitempty"`
	// Remains is a directory that outlives the spawner for those processes, and is
	// removed after the last one. "": there is none. RemainsFD is a file in it that
	// stays open, and locked, meanwhile.
	Remains   string `json:"remains,omitempty"`
	RemainsFD int    `json:"remainsFd,omitempty"`
	// Orphaned is the argv with which this executable, run again, clears away what
	// a killed spawner left. Empty: nothing does.
	Orphaned []string `json:"orphaned,omitempty"`

	Publish []Publish `json:"publish,omitempty"`

	// DNS lists the host's resolvers as address or address:port. Empty: those
	// of /etc/resolv.conf, followed when it changes.
	DNS []string `json:"dns,omitempty"`

	// Owner, when set, is told of each new outgoing flow and the process that
	// opened it. It is called from one goroutine.
	Owner func(bus.ProcEvent) `json:"-"`

	// Conditions, when set, gets the function that puts the conditions of DevTools
	// in force. Packets flow when known is closed, which is when those that hold
	// already, after a restart, are in force.
	Conditions func(apply func(bus.Conditions) error) (known <-chan struct{}) `json:"-"`
}

// Ready is the byte that ReadyFD gets.
const Ready = '+'

// Publish makes a port of the sandbox reachable from the host.
type Publish struct {
	Transport string `json:"transport"` // "tcp" or "udp"
	Host      string `json:"host"`      // address:port to listen on at the host
	App       uint16 `json:"app"`       // port inside
}

// DefaultMTU is the largest that a tun takes with a full IPv4 packet.
const DefaultMTU = 65520
