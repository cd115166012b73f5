package keyhook

import (
	"errors"
	"fmt"
	"os"

	"clipper/bus/natsbus"
	"clipper/keyhook/internal/keylog"
)

// KeyLogFile is an SSLKEYLOGFILE (RFC 9850) that the supervisor follows.
type KeyLogFile = keylog.File

// Options say what Main works on. Descriptors are given by number.
type Options struct {
	ListenerFD int  `json:"listenerFD"`         // seccomp listener, from Install; -1: there is none
	Killable   bool `json:"killable,omitempty"` // as Install said
	RingFD     int  `json:"ringFD"`             // Shared.Ring
	StateFD    int  `json:"stateFD"`            // Shared.State
	ReadyFD    int  `json:"readyFD,omitempty"`  // one byte is written here when notifications are being answered; 0: none

	KeyLogFiles []KeyLogFile `json:"keyLogFiles,omitempty"` // from Environment
	AppPID      int          `json:"appPID,omitempty"`      // the app's first process, in the supervisor's pid namespace; 0: unknown

	Launch *launch `json:"launch,omitempty"`

	untilGone bool // end when the last task under the filter is gone
}

// ParseOptions reads Options from natsbus.OptionsEnv.
func ParseOptions() (Options, error) {
	var o Options
	if os.Getenv(natsbus.OptionsEnv) == "" {
		return o, errors.New("keyhook: " + natsbus.OptionsEnv + " is not set: this process is started by `clipper up`")
	}
	if err := natsbus.RoleOptions(&o); err != nil {
		return o, fmt.Errorf("keyhook: %w", err)
	}
	return o, nil
}

// launch makes the process install the filter, hand the listener over and
// become the program, instead of supervising (see RunKeys).
type launch struct {
	SocketFD int      `json:"socketFD"` // SOCK_SEQPACKET: the listener goes out, one byte comes back
	Path     string   `json:"path"`
	Argv     []string `json:"argv"`
	Old      bool     `json:"old,omitempty"` // do without WAIT_KILLABLE_RECV, as before Linux 5.19
}
