// Package up is `clipper up`: it puts the processes of a session together, runs
// the app, and writes what the decoders found. What flows in is a command line;
// what flows out are the app's exit status, the terminal's lines and the files.
package up

import (
	"time"

	"clipper/internal/expect"
	"clipper/internal/filter"
	"clipper/internal/redact"
)

// Options of a session.
type Options struct {
	Command []string
	Env     []string // added to the app's environment

	Filter *filter.Filter       // of lines, HAR and JSON; nil: none
	Expect *expect.Expectations // is told of all exchanges; nil: nobody
	Redact *redact.Redactor     // of lines, HAR and JSON; nil: none

	Version    string // of Clipper, for the HAR
	Quiet      bool   // no request lines
	Verbose    bool   // the roles' logs on stderr
	HAR        string // file; "" is none
	JSON       string // file, "-" is stdout
	KeyLog     string // file
	Packets    string // file, pcapng
	Keep       string // name of the recorded session; "" is none
	KeepMax    int64  // bytes of its packet file
	TUI        bool   // the full-screen view
	DevTools   bool
	Address    string // of DevTools: host:port, port 0 is any; "" is 127.0.0.1:9229, or any port if that is taken
	Publish    []string
	Partitions int
	Programs   map[string]string // role -> program that replaces it
	Protos     []string          // files of --proto
	Schema     []byte            // what grpcview.Compile made of them; nil: none

	// NATS is the URL of a NATS server that carries the session instead of one of
	// its own; Creds and KeysCreds are credentials files for it, of all layers but
	// the secrets and of these, and CA is the authority of its certificate.
	NATS, Creds, KeysCreds, CA string
	NATSMax                    int64 // bytes of each stream there; 0: what package natsbus thinks
	// Open opens DevTools in the user's browser.
	Open bool

	// WaitAll waits for what the command leaves running; KillAll kills it.
	WaitAll, KillAll bool

	// Stay keeps DevTools up after the app ended, until Ctrl-C.
	Stay bool
}

// How long the end of a session may take, step by step. A step that takes
// longer is an error with the step's name, never a hang.
const (
	readyPoll  = 100 * time.Millisecond
	readyLimit = 20 * time.Second       // from the start of a role until it says that it is ready
	drainLimit = 30 * time.Second       // from the app's end until the last output
	leftGrace  = 200 * time.Millisecond // for what ends right after the command
	tapPoll    = 20 * time.Millisecond
	tapLimit   = 2 * time.Second // from the last output until the taps have read everything
	stopLimit  = 3 * time.Second // from SIGTERM until a role has ended
)

// SweepRole is the role that clears away what killed sessions left.
const SweepRole = "sweep"

// TapName is the name under which a tap connects to the bus.
const TapName = "tap"
