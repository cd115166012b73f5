package keyhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"clipper/keyhook/internal/keylog"
)

// OptionsEnv is the environment variable that holds the JSON of Options for a
// process that runs Main.
const OptionsEnv = "CLIPPER_ROLE_OPTIONS"

// KeyLogFile is an SSLKEYLOGFILE (RFC 9850) that the supervisor follows.
type KeyLogFile = keylog.File

// Options say what Main works on. Descriptors are given by number.
type Options struct {
	ListenerFD int  `json:"listenerFD"`         // seccomp listener, from Install
	Killable   bool `json:"killable,omitempty"` // as Install said
	RingFD     int  `json:"ringFD"`             // Shared.Ring
	StateFD    int  `json:"stateFD"`            // Shared.State
	ReadyFD    int  `json:"readyFD,omitempty"`  // one byte is written here when notifications are being answered; 0: none

	KeyLogFiles []KeyLogFile `json:"keyLogFiles,omitempty"` // from Environment
	AppPID      int          `json:"appPID,omitempty"`      // the app's first process, in the supervisor's pid namespace; 0: unknown

	Launch *launch `json:"launch,omitempty"`

	untilGone bool // end when the last task under the filter is gone
}

// ParseOptions reads Options from the environment variable OptionsEnv.
func ParseOptions() (Options, error) {
	var o Options
	s := os.Getenv(OptionsEnv)
	if s == "" {
		return o, errors.New("keyhook: " + OptionsEnv + " is not set: this process is started by `clipper up`")
	}
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return o, fmt.Errorf("keyhook: %s: %w", OptionsEnv, err)
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
