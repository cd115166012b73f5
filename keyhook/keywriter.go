package keyhook

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"clipper/bus"
)

// keyWriter is the Publisher of RunKeys.
type keyWriter struct {
	keyLog io.Writer
	json   io.Writer
	theirs string // the user's SSLKEYLOGFILE, "" without

	waiting []waitingLine // for theirs, in order
}

type waitingLine struct {
	line  string
	since time.Time
}

// secretJSON is a line of the JSON output.
type secretJSON struct {
	Type         string `json:"type"` // "secret"
	Time         int64  `json:"time"` // Unix ns
	Label        string `json:"label"`
	ClientRandom string `json:"clientRandom"`
	Secret       string `json:"secret"`
	PID          int    `json:"pid,omitempty"`
	TID          int    `json:"tid,omitempty"`
	Exe          string `json:"exe,omitempty"`
	Library      string `json:"library,omitempty"`
	Mechanism    string `json:"mechanism"`
}

// Secret implements Publisher.
func (w *keyWriter) Secret(s *bus.TLSSecret, now int64) error {
	line := s.KeyLogLine() + "\n"
	if w.keyLog != nil {
		if _, err := io.WriteString(w.keyLog, line); err != nil {
			return fmt.Errorf("write key log: %w", err)
		}
	}
	if w.theirs != "" && s.Mechanism != mechanismFile {
		w.waiting = append(w.waiting, waitingLine{line, time.Now()})
	}
	return w.object(secretJSON{Type: "secret", Time: now, Label: s.Label, ClientRandom: hex.EncodeToString(s.ClientRandom),
		Secret: hex.EncodeToString(s.Secret), PID: s.PID, TID: s.TID, Exe: s.Executable, Library: s.Library, Mechanism: s.Mechanism})
}

// Event implements Publisher.
func (w *keyWriter) Event(e *bus.ProcEvent) error { return w.object(e) }

func (w *keyWriter) object(v any) error {
	if w.json == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := w.json.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// wroteItself is told of every secret that a program wrote to a key log file.
func (w *keyWriter) wroteItself(s *bus.TLSSecret) {
	line := s.KeyLogLine() + "\n"
	for i := range w.waiting {
		if w.waiting[i].line == line {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			return
		}
	}
}

// Flush implements Publisher.
func (w *keyWriter) Flush() error { return w.fillTheirs(ownLinePatience) }

// End implements Publisher.
func (w *keyWriter) End() error { return w.fillTheirs(0) }

// fillTheirs appends to the user's file what no program has written to it
// within the patience.
func (w *keyWriter) fillTheirs(patience time.Duration) error {
	n := 0
	var lines []byte
	for n < len(w.waiting) && time.Since(w.waiting[n].since) >= patience {
		lines = append(lines, w.waiting[n].line...)
		n++
	}
	if n == 0 {
		return nil
	}
	w.waiting = w.waiting[n:]
	f, err := os.OpenFile(w.theirs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("SSLKEYLOGFILE: %w", err)
	}
	if _, err := f.Write(lines); err != nil {
		f.Close()
		return fmt.Errorf("SSLKEYLOGFILE: %w", err)
	}
	return f.Close()
}
