// Package session keeps the directory of a running session: where it lies,
// who owns it, and what remains of sessions that were killed.
//
// A session's directory holds plaintext and secrets: it is 0700, its files are
// 0600, and it goes away with the session. While `clipper up` lives it holds a
// lock on the file "lock" in it; a directory whose lock is free is a leftover
// and is removed by the next run. Between a directory and its lock lies a moment
// in which it looks like a leftover, so whoever makes one or looks for leftovers
// holds a lock on the directory of all sessions meanwhile.
package session

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Session is the directory of one session.
type Session struct {
	ID   string
	Dir  string
	lock *os.File
}

// Facts are what other commands need to find and look after a session.
type Facts struct {
	ID       string    `json:"id"`
	PID      int       `json:"pid"` // of clipper up
	Command  []string  `json:"command"`
	Started  time.Time `json:"started"`
	DevTools string    `json:"devtools,omitempty"` // URL
	NATS     string    `json:"nats,omitempty"`     // URL
}

// TapSeed is the file, in the session's directory, with the nkey seed of the user
// who may read every layer but the secrets.
const TapSeed = "tap.nk"

// Base is the directory that holds the sessions of this user: CLIPPER_DIR, else
// clipper/sessions in the user's cache directory, else clipper-UID in the
// directory for temporary files.
func Base() string {
	if d := os.Getenv("CLIPPER_DIR"); d != "" {
		if abs, err := filepath.Abs(d); err == nil { // programs that get a path of it change directory
			return abs
		}
		return d
	}
	if d, err := os.UserCacheDir(); err == nil {
		base := filepath.Join(d, "clipper", "sessions")
		if os.MkdirAll(base, 0o700) == nil && unix.Access(base, unix.W_OK) == nil {
			return base
		}
	}
	return filepath.Join(os.TempDir(), "clipper-"+strconv.Itoa(os.Getuid()))
}

// New makes a session's directory below base.
func New(base string) (*Session, error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for sessions: %w (set CLIPPER_DIR to a directory of yours)", err)
	}
	if err := private(base); err != nil {
		return nil, err
	}
	all, err := lockDir(base)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	id := newID()
	dir := filepath.Join(base, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the session's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = flock(lock, unix.LOCK_EX) // waits for a look of List at most
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("lock the session's directory %s: %w", dir, err)
	}
	return &Session{ID: id, Dir: dir, lock: lock}, nil
}

// lockDir locks a directory against everybody else until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err = flock(f, unix.LOCK_EX); err == nil {
		return f, nil
	}
	f.Close()
	// NFS wants a descriptor that can write, which a directory's never can.
	f, err2 := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err2 != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, errors.Join(err, err2))
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// private refuses a base directory that somebody else could have prepared.
func private(base string) error {
	var st unix.Stat_t
	if err := unix.Lstat(base, &st); err != nil {
		return fmt.Errorf("look at %s: %w", base, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s must be a directory that only you can use (owner %d, mode 0700); set CLIPPER_DIR to another one", base, os.Getuid())
	}
	return nil
}

func newID() string {
	var b [5]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// Path is a file in the session's directory.
func (s *Session) Path(name ...string) string {
	return filepath.Join(append([]string{s.Dir}, name...)...)
}

// Write stores the facts for other commands, in one piece.
func (s *Session) Write(f Facts) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tmp := s.Path("session.json.new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.Path("session.json"))
}

// Lock is the file whose lock says that the session is in use. A process that has a
// copy of the descriptor keeps the directory from being removed as a leftover.
func (s *Session) Lock() *os.File { return s.lock }

// Leave deletes all but the lock and the named files, which are for processes that
// go on, and lets go of the lock. Whoever has a copy of it removes the rest.
func (s *Session) Leave(names []string) error {
	defer s.lock.Close()
	entries, err := os.ReadDir(s.Dir)
	for _, e := range entries {
		if name := e.Name(); name != filepath.Base(s.lock.Name()) && !slices.Contains(names, name) {
			err = errors.Join(err, os.RemoveAll(s.Path(name)))
		}
	}
	return err
}

// Remove deletes the directory and lets go of the lock.
func (s *Session) Remove() error {
	err := os.RemoveAll(s.Dir)
	s.lock.Close()
	return err
}

// Sweep removes what killed sessions left below base and returns their
// directories; mend, if not nil, is called with each of them before.
func Sweep(base string, mend func(dir string)) (removed []string, err error) {
	left, err := leftovers(base)
	for _, dir := range left {
		if mend != nil {
			mend(dir)
		}
		if err := removeAll(dir); err != nil {
			return removed, err
		}
		removed = append(removed, dir)
	}
	return removed, err
}

// removeAll removes dir, in which processes that are being killed may still make files.
func removeAll(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		if err := os.RemoveAll(dir); err == nil || wait > time.Second {
			return err
		}
		time.Sleep(wait)
	}
}

// AwaitEnd returns when nobody holds the session in dir any more: a process that was
// killed lets go of its descriptors one after the other.
func AwaitEnd(dir string) {
	if f, err := os.Open(filepath.Join(dir, "lock")); err == nil {
		defer f.Close()
		_ = flock(f, unix.LOCK_SH)
	}
}

// leftovers are the directories below base that nobody holds. They stay so, for
// names are never used twice: removing them, which can take long, needs no lock.
func leftovers(base string) (dirs []string, err error) {
	all, err := lockDir(base)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer all.Close()
	entries, err := os.ReadDir(base)
	for _, e := range entries {
		if dir := filepath.Join(base, e.Name()); e.IsDir() && !alive(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, err
}

// alive reports whether somebody holds the lock of dir.
func alive(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	return flock(f, unix.LOCK_SH|unix.LOCK_NB) != nil
}

// List gives the facts of the running sessions below base, oldest first.
func List(base string) ([]Facts, error) {
	entries, err := os.ReadDir(base)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []Facts
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		var f Facts
		b, err := os.ReadFile(filepath.Join(dir, "session.json"))
		if err != nil || json.Unmarshal(b, &f) != nil || !alive(dir) {
			continue
		}
		all = append(all, f)
	}
	return all, nil
}
