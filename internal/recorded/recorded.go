// Package recorded keeps sessions for later: `clipper up --keep NAME` and the
// commands that look after what it kept. A recorded session is a directory with a
// packet file, which holds the packets, the TLS secrets and the processes and is
// readable whatever became of its writer, and a file of facts. Everything else is
// decoded from the packets anew when the session is opened.
//
// The directory holds secrets: it is 0700 and its files are 0600. A lock tells
// whether it is still being written.
package recorded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Facts are what is known of a recorded session without decoding it.
type Facts struct {
	Name      string    `json:"name"`
	Command   []string  `json:"command"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"` // zero: it is running, or was killed
	Exit      int       `json:"exit"`           // status of the command
	Exchanges int       `json:"exchanges"`
	Failed    int       `json:"failed"`             // exchanges that broke off
	Full      bool      `json:"full,omitempty"`     // the limit was reached: the end is missing
	Size      int64     `json:"size,omitempty"`     // bytes of the packet file; not stored
	Recording bool      `json:"recording,omitzero"` // it is being written; not stored
}

const (
	packetFile = "session.pcapng"
	factsFile  = "facts.json"
	lockFile   = "lock"
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ErrNone is the error for a name under which nothing is recorded.
var ErrNone = errors.New("nothing is recorded")

// Base is the directory of the recorded sessions of this user: CLIPPER_DATA, else
// clipper/sessions in XDG_DATA_HOME, else in ~/.local/share.
func Base() (string, error) {
	if d := os.Getenv("CLIPPER_DATA"); d != "" {
		return filepath.Abs(d)
	}
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) { // the XDG Base Directory Specification: relative ones are ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find a place for recorded sessions: %w (set CLIPPER_DATA to a directory of yours)", err)
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "clipper", "sessions"), nil
}

// Recorder is a session that is being recorded.
type Recorder struct {
	Facts Facts
	dir   string
	lock  *os.File
}

// Create begins a recording; the name must be free.
func Create(name string) (*Recorder, error) {
	dir, err := place(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("--keep: %w (set CLIPPER_DATA to a directory of yours)", err)
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("--keep: there is a recorded session %q already: choose another name, or remove it with 'clipper rm %s'", name, name)
	} else if err != nil {
		return nil, fmt.Errorf("--keep: %w", err)
	}
	r := &Recorder{Facts: Facts{Name: name, Started: time.Now()}, dir: dir}
	if r.lock, err = os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		err = unix.Flock(int(r.lock.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		err = r.Save()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("--keep: %w", err)
	}
	return r, nil
}

// Packets is where the packet file belongs.
func (r *Recorder) Packets() string { return filepath.Join(r.dir, packetFile) }

// Save writes the facts, in one piece.
func (r *Recorder) Save() error {
	b, err := json.MarshalIndent(r.Facts, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(r.dir, factsFile+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(r.dir, factsFile))
}

// Close ends the recording.
func (r *Recorder) Close() error {
	r.Facts.Ended = time.Now()
	err := r.Save()
	return errors.Join(err, r.lock.Close())
}

// Discard removes what was begun.
func (r *Recorder) Discard() error {
	return errors.Join(os.RemoveAll(r.dir), r.lock.Close())
}

// place is the directory of a name.
func place(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("%q is no name for a recorded session: up to 64 letters, digits, '.', '_' and '-', a letter or digit first", name)
	}
	base, err := Base()
	return filepath.Join(base, name), err
}

// Find gives the facts and the packet file of a recorded session.
func Find(name string) (Facts, string, error) {
	dir, err := place(name)
	if err != nil {
		return Facts{}, "", err
	}
	f, err := facts(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w under the name %q ('clipper ls' lists what is)", ErrNone, name)
	}
	return f, filepath.Join(dir, packetFile), err
}

// facts reads those of a directory. Where they are damaged the packets still count.
func facts(dir string) (Facts, error) {
	fi, err := os.Stat(filepath.Join(dir, packetFile))
	if err != nil {
		return Facts{}, err
	}
	var f Facts
	if b, err := os.ReadFile(filepath.Join(dir, factsFile)); err == nil {
		_ = json.Unmarshal(b, &f)
	}
	f.Name, f.Size, f.Recording = filepath.Base(dir), fi.Size(), busy(dir)
	if f.Started.IsZero() {
		f.Started = fi.ModTime()
	}
	return f, nil
}

// busy reports whether a recorder holds the lock.
func busy(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// List gives the recorded sessions, the newest first.
func List() ([]Facts, error) {
	base, err := Base()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []Facts
	for _, e := range entries {
		if f, err := facts(filepath.Join(base, e.Name())); err == nil && e.IsDir() {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b Facts) int { return b.Started.Compare(a.Started) })
	return all, nil
}

// Remove deletes a recorded session.
func Remove(name string) error {
	dir, err := place(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w under the name %q ('clipper ls' lists what is)", ErrNone, name)
	}
	if busy(dir) {
		return fmt.Errorf("%s is being recorded: end its command first", name)
	}
	return os.RemoveAll(dir)
}
