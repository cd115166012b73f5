//go:build linux

package doctor_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"clipper/sandbox"
	"clipper/sandbox/doctor"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "stage1" {
		sandbox.Stage1(nil)
	}
	os.Exit(m.Run())
}

func TestExamine(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range doctor.Examine(doctor.Options{}) {
		if seen[f.Name] {
			t.Errorf("two probes %q", f.Name)
		}
		seen[f.Name] = true
		if f.Status != doctor.OK && (f.Breaks == "" || f.Fix == "" || f.Detail == "") {
			t.Errorf("%s does not say what to do: %+v", f.Name, f)
		}
		if f.Status == doctor.OK && f.Fix != "" {
			t.Errorf("%s is all right, and has a fix: %+v", f.Name, f)
		}
		if _, err := json.Marshal(f); err != nil {
			t.Error(err)
		}
		t.Logf("%-16s %-8s %s %s", f.Name, f.Status, f.Detail, f.Fix)
	}
	for _, name := range []string{"user-namespaces", "tun", "packet-ring", "seccomp-notify", "ptrace", "ipv6"} {
		if !seen[name] {
			t.Errorf("no probe %q", name)
		}
	}
}

func TestTun(t *testing.T) {
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/nonexistent/tun": "mknod -m 0666 /nonexistent/tun c 10 200",
		plain:              "unset CLIPPER_TUN",
	} {
		for _, f := range doctor.Examine(doctor.Options{TunPath: path}) {
			if f.Name == "tun" && (f.Status != doctor.Missing || !strings.Contains(f.Fix, want)) {
				t.Errorf("%s: %+v", path, f)
			}
		}
	}
}

func TestAppArmorProfile(t *testing.T) {
	got := doctor.AppArmorProfile("/opt/my tools/clipper")
	if !strings.Contains(got, `"/opt/my tools/clipper" flags=(unconfined)`) || !strings.Contains(got, "userns,") {
		t.Error(got)
	}
}
