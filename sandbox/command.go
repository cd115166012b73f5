//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CommandError says that the command cannot be run. Error is what a shell
// would print after its own name.
type CommandError struct {
	Name string // as given
	Code int    // exit status: 127 not found, 126 found but not executable
	Err  error
}

func (e *CommandError) Error() string {
	why := e.Err.Error()
	if errno, ok := errors.AsType[unix.Errno](e.Err); ok {
		why = strings.TrimSuffix(why, errno.Error()) + sentence(errno.Error())
	}
	return e.Name + ": " + why
}

func (e *CommandError) Unwrap() error { return e.Err }

// ExitCode is the exit status that a shell would give.
func (e *CommandError) ExitCode() int { return e.Code }

// ErrCommandNotFound: no directory of PATH holds the command.
var ErrCommandNotFound = errors.New("command not found")

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// lookCommand finds the file of a command as a shell does: a name with a slash
// stands for itself, any other is looked up in path. A file that is found but
// not executable is passed over, and reported if there is no better one.
func lookCommand(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		if err := executable(name); err != nil {
			return "", commandError(name, err)
		}
		return name, nil
	}
	var found error
	if name != "" {
		for _, dir := range filepath.SplitList(path) {
			if dir == "" {
				dir = "."
			}
			file := dir + "/" + name
			err := executable(file)
			if err == nil {
				return file, nil
			}
			if found == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EISDIR) {
				if _, serr := os.Stat(file); serr == nil {
					found = err
				}
			}
		}
	}
	if found != nil {
		return "", &CommandError{Name: name, Code: 126, Err: found}
	}
	return "", &CommandError{Name: name, Code: 127, Err: ErrCommandNotFound}
}

// commandError wraps an error of execve or of the checks before it.
func commandError(name string, err error) *CommandError {
	code := 126
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		code = 127
	}
	return &CommandError{Name: name, Code: code, Err: err}
}

// execError wraps the error of an execve of a file that was there: the kernel
// says "no such file" also when the interpreter of a script, or the dynamic
// linker of a program, is missing.
func execError(name, file string, err error) *CommandError {
	if errors.Is(err, unix.ENOENT) && executable(file) == nil {
		return &CommandError{Name: name, Code: 126, Err: fmt.Errorf("bad interpreter: %w", err)}
	}
	return commandError(name, err)
}

func executable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
}

// lookEnv returns the last value of key, as programs see it.
func lookEnv(env []string, key string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}
