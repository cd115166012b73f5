package keyhook

import (
	_ "embed" // agentJar
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// KeyLogName is the name of the key log file that Environment makes.
const KeyLogName = "sslkeylog"

// Environment offers the app the second source of secrets: what programs write
// by themselves. It returns what to add to the app's environment, whose
// entries replace earlier ones of the same name, and the files for
// Options.KeyLogFiles. environ has the form of os.Environ.
//
// SSLKEYLOGFILE: where environ has none, it becomes an empty regular file of
// mode 0600 in dir: writing to it never blocks, unlike a FIFO. One that the
// user has set stays: programs go on filling that file, and the supervisor
// reads what is appended from now on.
//
// JAVA_TOOL_OPTIONS: an agent for JSSE is added to what there is. Java says so
// on standard error ("Picked up JAVA_TOOL_OPTIONS").
func Environment(dir string, environ []string) (add []string, files []KeyLogFile, err error) {
	env, file, err := sslKeyLogFile(dir, environ)
	if err != nil {
		return nil, nil, err
	}
	add, files = append(add, env...), append(files, file)
	env, agent, err := javaToolOptions(dir, environ)
	if err != nil {
		return nil, nil, err
	}
	return append(add, env...), append(files, agent...), nil
}

// lookup is the last value of a variable.
func lookup(environ []string, name string) (value string) {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

func sslKeyLogFile(dir string, environ []string) (add []string, file KeyLogFile, err error) {
	const name = "SSLKEYLOGFILE"
	if path := lookup(environ, name); path != "" {
		if path, err = filepath.Abs(path); err != nil {
			return nil, file, fmt.Errorf("keyhook: SSLKEYLOGFILE: %w", err)
		}
		var size int64
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
		return nil, KeyLogFile{Path: path, Offset: size}, nil
	}
	path := filepath.Join(dir, KeyLogName)
	if err := create(path, nil); err != nil {
		return nil, file, err
	}
	return []string{name + "=" + path}, KeyLogFile{Path: path}, nil
}

// agentJar is the JSSE agent, built from javaagent/src by javaagent/build.sh.
//
//go:embed javaagent/agent.jar
var agentJar []byte

func javaToolOptions(dir string, environ []string) (add []string, files []KeyLogFile, err error) {
	const name = "JAVA_TOOL_OPTIONS"
	if strings.ContainsAny(dir, " \t\n'\"=,:") {
		return nil, nil, nil // the variable could not carry the path
	}
	jar, log := filepath.Join(dir, agentName), filepath.Join(dir, javaKeysName)
	if err := create(jar, agentJar); err != nil {
		return nil, nil, err
	}
	if err := create(log, nil); err != nil {
		return nil, nil, err
	}
	options := strings.TrimSpace(lookup(environ, name) + " " + agentOption(log))
	return []string{name + "=" + options}, []KeyLogFile{{Path: log, Agent: "jsse"}}, nil
}

// Names of the files of the JSSE agent.
const (
	agentName    = "jsse-agent.jar"
	javaKeysName = "jsse-keys"
)

// agentOption is the option for a Java VM whose agent writes to log, beside which
// it lies.
func agentOption(log string) string {
	return "-javaagent:" + filepath.Join(filepath.Dir(log), agentName) + "=" + log
}

// Outlive readies the files of Environment in dir for programs that outlive the
// session: many do not start, or do not connect, if what the variables name is
// gone. Nobody reads what they write there. It returns the names of the files.
func Outlive(dir string) (names []string, err error) {
	for _, name := range []string{KeyLogName, javaKeysName} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err != nil {
			continue // the user had the variable set
		}
		null := path + ".null"
		if err := os.Symlink(os.DevNull, null); err != nil {
			return nil, fmt.Errorf("keyhook: file for the app: %w", err)
		}
		if err := os.Rename(null, path); err != nil {
			return nil, fmt.Errorf("keyhook: file for the app: %w", err)
		}
		names = append(names, name)
	}
	return append(names, agentName), nil
}

// create makes a file of the session's directory.
func create(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keyhook: file for the app: %w", err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keyhook: file for the app: %w", err)
	}
	return nil
}
