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
