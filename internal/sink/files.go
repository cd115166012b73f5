package sink

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"clipper/httpdec/har"
	"clipper/internal/term"
)

// Stdout is the name of standard output as a file.
const Stdout = "-"

// ErrUnwritable is an output that cannot be written any more.
type ErrUnwritable struct {
	Option string // that asked for it
	Err    error
}

// Error implements error.
func (e *ErrUnwritable) Error() string { return fmt.Sprintf("%s: %v", e.Option, e.Err) }

func (e *ErrUnwritable) Unwrap() error { return e.Err }

// fail notes that an output cannot be written any more; s.mu is held. The others go on.
func (s *Sink) fail(option string, err error) {
	if err == nil {
		return
	}
	err = &ErrUnwritable{option, err}
	if s.o.Failed != nil {
		s.o.Failed(err)
		return
	}
	s.errs = append(s.errs, err)
}

// ErrIdle says that nothing of what was asked for can be written any more.
var ErrIdle = errors.New("sink: no output is left")

// idle says that nobody gets anything any more, because what was asked for
// cannot be written.
func (s *Sink) idle() bool {
	for _, p := range s.packets {
		if !p.full {
			return false
		}
	}
	return len(s.errs) > 0 && s.har == nil && s.lines == nil && s.keylog == nil && s.o.View == nil && s.o.Expect == nil &&
		(s.o.Terminal == nil || s.o.Terminal.Quiet())
}

// Create makes a file for the user, which the option asked for; "-" is standard
// output. Its directory must exist.
func Create(option, path string, mode os.FileMode) (*os.File, error) {
	if path == Stdout {
		return os.Stdout, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, mode)
	switch {
	case err == nil && regular(f):
		if err = Lock(f); err == nil {
			err = f.Truncate(0)
		}
		if err != nil {
			f.Close()
		}
	case errors.Is(err, syscall.EACCES) && writeOnly(path): // a pipe or a terminal of somebody else
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	case errors.Is(err, fs.ErrNotExist):
		if _, e := os.Stat(filepath.Dir(path)); errors.Is(e, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %s: the directory %s does not exist: make it, or name another file", option, path, filepath.Dir(path))
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %s is being written by another clipper: name another file", option, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name a file that can be written", option, err)
	}
	return f, nil
}

func regular(f *os.File) bool {
	fi, err := f.Stat()
	return err == nil && fi.Mode().IsRegular()
}

// Lock keeps other processes of Clipper from writing f, until it is closed. File
// systems without locks have none. One that makes the file of a killed session whole
// holds the lock for a moment.
func Lock(f *os.File) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err == syscall.EINTR:
		case err != syscall.EWOULDBLOCK:
			return nil
		case wait > lockWait:
			return err
		default:
			time.Sleep(wait)
		}
	}
}

// lockWait is about how long Lock waits.
const lockWait = time.Second

// writeOnly reports whether path is no regular file, which need not be read back.
func writeOnly(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && !fi.Mode().IsRegular() && !fi.IsDir()
}

func closeFile(f *os.File) error {
	if f == nil || f == os.Stdout {
		return nil
	}
	return f.Close()
}

// openHAR begins the HAR. It is completed in place: for a pipe, that is done in a
// file beside the bodies, which is copied at the end.
func (s *Sink) openHAR(mode os.FileMode) (err error) {
	const option = "--har"
	if s.harFile, err = Create(option, s.o.HAR, mode); err != nil {
		return err
	}
	if s.o.HAR != Stdout {
		if s.har, err = har.NewWriter(s.harFile, s.source, har.Options{Version: s.o.Version}); !errors.Is(err, syscall.ESPIPE) {
			return named(option, err)
		}
	}
	s.harPipe = s.harFile
	if s.harFile, err = os.CreateTemp(s.o.Dir, ".har-*"); err == nil {
		if err = os.Remove(s.harFile.Name()); err == nil {
			s.har, err = har.NewWriter(s.harFile, s.source, har.Options{Version: s.o.Version})
		}
	}
	return named(option, err)
}

// closeHAR ends the HAR.
func (s *Sink) closeHAR() error {
	var err error
	if s.harPipe != nil && s.harFile != nil {
		if _, err = s.harFile.Seek(0, io.SeekStart); err == nil {
			_, err = io.Copy(s.harPipe, s.harFile)
		}
	}
	return errors.Join(err, closeFile(s.harFile), closeFile(s.harPipe))
}

func named(option string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", option, err)
}

// openLines begins the lines of JSON.
func (s *Sink) openLines(mode os.FileMode) (err error) {
	if s.json, err = Create("--json", s.o.JSON, mode); err != nil {
		return err
	}
	var to io.Writer = s.json
	if s.json == os.Stdout { // where it ends, only others know
		to = struct{ io.Writer }{s.json}
	}
	s.lines = har.NewLineWriter(to, s.source, har.Options{Version: s.o.Version})
	return nil
}

// writtenFiles are the files with their sizes.
func (s *Sink) writtenFiles() (list []string) {
	for _, path := range []string{s.o.HAR, s.o.JSON, s.o.Packets, s.o.KeyLog} {
		if path == "" || path == Stdout {
			continue
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			list = append(list, fmt.Sprintf("%s (%s)", path, term.Size(uint64(fi.Size()))))
		}
	}
	return list
}
