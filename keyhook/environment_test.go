package keyhook

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	add, files, err := Environment(dir, []string{"A=b", "SSLKEYLOGFILE="})
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, KeyLogName)
	if lookup(add, "SSLKEYLOGFILE") != log || len(files) != 2 || files[0] != (KeyLogFile{Path: log}) || files[1].Agent != "jsse" {
		t.Errorf("%q, %+v", add, files)
	}
	if want := "-javaagent:" + dir + "/jsse-agent.jar=" + dir + "/jsse-keys"; lookup(add, "JAVA_TOOL_OPTIONS") != want {
		t.Errorf("%q, want %s", add, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), st.Mode(), err)
		}
	}

	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, []byte("# 10 bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(dir, "second")
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	add, files, err = Environment(second, []string{"SSLKEYLOGFILE=" + theirs, "JAVA_TOOL_OPTIONS=-Xmx64m"})
	if err != nil {
		t.Fatal(err)
	}
	if lookup(add, "SSLKEYLOGFILE") != "" || files[0] != (KeyLogFile{Path: theirs, Offset: 10}) || !strings.HasPrefix(lookup(add, "JAVA_TOOL_OPTIONS"), "-Xmx64m -javaagent:") {
		t.Errorf("%q, %+v", add, files)
	}

	odd := filepath.Join(dir, "with space")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if add, files, err = Environment(odd, nil); err != nil || len(add) != 1 || len(files) != 1 {
		t.Errorf("%q, %+v, %v", add, files, err)
	}
}

// TestOutlive: what the variables name is still there after the session, and takes
// what is written, which goes nowhere.
func TestOutlive(t *testing.T) {
	dir := t.TempDir()
	add, files, err := Environment(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0].Path, []byte("a secret"), 0); err != nil {
		t.Fatal(err)
	}
	names, err := Outlive(dir)
	if err != nil || len(names) != 3 {
		t.Fatalf("%q, %v", names, err)
	}
	for _, name := range names {
		if !strings.Contains(strings.Join(add, " "), filepath.Join(dir, name)) {
			t.Errorf("no variable names %s", name)
		}
	}
	for _, file := range files {
		f, err := os.OpenFile(file.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("late"); err != nil {
			t.Error(err)
		}
		f.Close()
		if b, err := os.ReadFile(file.Path); err != nil || len(b) != 0 {
			t.Errorf("%s holds %q, %v", file.Path, b, err)
		}
	}
}

// TestAgentJar: the embedded jar is what its source gives.
func TestAgentJar(t *testing.T) {
	if out, err := exec.Command("javac", "-version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "javac 17.") {
		t.Skip("no JDK 17, with which it was built")
	}
	jar := filepath.Join(t.TempDir(), "agent.jar")
	if out, err := exec.Command("javaagent/build.sh", jar).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	built, err := os.ReadFile(jar)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, agentJar) {
		t.Error("javaagent/agent.jar is not what javaagent/build.sh makes")
	}
}
