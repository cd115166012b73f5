package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// doctorReport is what `clipper doctor --json` prints.
type doctorReport struct {
	Probes []struct{ Name, Title, Kernel, Status, Detail, Breaks, Fix string }
	Limits []string
}

func (d doctorReport) probe(t *testing.T, name string) (status, detail, fix string) {
	t.Helper()
	for _, p := range d.Probes {
		if p.Name == name {
			return p.Status, p.Detail, p.Fix
		}
	}
	t.Fatalf("no probe %q in %+v", name, d.Probes)
	return
}

func doctor(t *testing.T, cmd *exec.Cmd) (d doctorReport) {
	t.Helper()
	r := finish(t, cmd)
	unmarshal(t, []byte(r.stdout), &d)
	return d
}

func TestDoctor(t *testing.T) {
	w := plainUser(t)
	d := doctor(t, w.command(t, clipper(t), "doctor", "--json"))
	for _, name := range []string{"user-namespaces", "tun", "packet-ring"} {
		if status, detail, _ := d.probe(t, name); status != "ok" {
			t.Errorf("%s is %s: %s", name, status, detail)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := run(t, w, "doctor").stdout
	for _, l := range d.Limits {
		if !strings.Contains(string(readme), "\n- "+l+"\n") {
			t.Errorf("the README does not list %q", l)
		}
		if !strings.Contains(text, l) {
			t.Errorf("doctor does not print %q", l)
		}
	}
	if len(d.Limits) == 0 {
		t.Error("no limits")
	}

	limited := w.command(t, "prlimit", "--memlock=0:0", "--nofile=1000:1000", clipper(t), "doctor", "--json")
	d = doctor(t, limited)
	if status, detail, fix := d.probe(t, "open-files"); status != "limited" || detail != "1000" || fix == "" {
		t.Errorf("open-files is %s: %s, %s", status, detail, fix)
	}
	if status, detail, _ := d.probe(t, "memory-lock"); status != "ok" || detail != "0 KiB" {
		t.Errorf("memory-lock is %s: %s", status, detail)
	}
	// Neither the ring nor what the roles share is counted against the limit.
	r := finish(t, w.command(t, "prlimit", "--memlock=0:0", clipper(t), "up", "-q", "--no-devtools", "--", "curl", "-sS", hostHTTP(t)))
	if r.wants(t, 0); r.stdout != "hello" {
		t.Errorf("without locked memory: %q", r.stdout)
	}
}

// restricted runs a command as AppArmor does what it restricts: user namespaces can
// be made, but nothing that needs a capability in them succeeds.
var restricted = fmt.Sprintf(`
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
LOAD, EQUAL, RETURN, ALLOW, EPERM = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050001
rules = []
def rule(code, jt, jf, k): rules.append(struct.pack("HBBI", code, jt, jf, k))
def deny(call, argument=None, value=0):
    rule(LOAD, 0, 0, 0); rule(EQUAL, 0, 1 if argument is None else 3, call)
    if argument is not None: rule(LOAD, 0, 0, 16 + 8 * argument); rule(EQUAL, 0, 1, value)
    rule(RETURN, 0, 0, EPERM)
deny(%d) # netlink
deny(%d) # mount
deny(%d, 1, 0x400454ca) # TUNSETIFF
rule(RETURN, 0, 0, ALLOW)
code = ctypes.create_string_buffer(b"".join(rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, program, 0, 0): sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
`, unix.SYS_SENDTO, unix.SYS_MOUNT, unix.SYS_IOCTL)

// TestDoctorAppArmor: on a machine that restricts user namespaces, as Ubuntu does,
// doctor finds it out by trying, and up says why it fails; the advice is a profile
// for this one program.
func TestDoctorAppArmor(t *testing.T) {
	w := plainUser(t)
	m := newMachine(t)
	m.sh("mount", "-t", "tmpfs", "tmpfs", "/proc/sys/kernel")
	m.sh("sh", "-c", "echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	command := func(argv ...string) *exec.Cmd {
		return w.command(t, append([]string{"/usr/bin/python3", "-c", restricted, clipper(t)}, argv...)...)
	}
	var d doctorReport
	r := m.finish(command("doctor", "--json"))
	if unmarshal(t, []byte(r.stdout), &d); r.code != 1 {
		t.Errorf("exit %d, want 1: clipper up cannot work", r.code)
	}
	status, detail, fix := d.probe(t, "user-namespaces")
	if status != "missing" || !strings.HasPrefix(detail, "AppArmor restricts unprivileged user namespaces") || !strings.HasSuffix(detail, "operation not permitted") {
		t.Errorf("user-namespaces is %s: %s", status, detail)
	}
	profile := `profile clipper "` + clipper(t) + `" flags=(unconfined) {`
	if !strings.Contains(fix, profile) || strings.Contains(fix, "sysctl") {
		t.Errorf("to fix: %s", fix)
	}
	if status, detail, _ := d.probe(t, "tun"); status != "ok" {
		t.Errorf("tun is %s: %s", status, detail)
	}
	m.finish(command("up", "--", "true")).wants(t, 125, "operation not permitted", "AppArmor restricts", profile)
}

// TestDoctorInContainer looks at a machine that says it is a container's, with a
// container's /dev.
func TestDoctorInContainer(t *testing.T) {
	w := plainUser(t)
	m := newMachine(t)
	m.sh("mount", "-t", "tmpfs", "tmpfs", "/run")
	m.sh("touch", "/run/.containerenv")
	m.sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/dev/net")
	command := func(argv ...string) *exec.Cmd {
		cmd := w.command(t, append([]string{"env", "-u", "CLIPPER_TUN", clipper(t)}, argv...)...)
		return cmd
	}
	var d doctorReport
	r := m.finish(command("doctor", "--json"))
	if unmarshal(t, []byte(r.stdout), &d); r.code != 1 {
		t.Errorf("exit %d, want 1: clipper up cannot work", r.code)
	}
	if status, detail, _ := d.probe(t, "container"); status != "limited" || !strings.HasPrefix(detail, "inside ") {
		t.Errorf("container is %s: %s", status, detail)
	}
	if status, _, fix := d.probe(t, "tun"); status != "missing" || !strings.Contains(fix, "--device /dev/net/tun") {
		t.Errorf("tun is %s, to fix: %s", status, fix)
	}
	// up says what is relevant, and nothing else.
	r = m.finish(command("up", "--", "true"))
	r.wants(t, 125, "/dev/net/tun", "to fix: start the container with --device /dev/net/tun")
	if lines := strings.Count(r.stderr, "\n"); lines > 3 {
		t.Errorf("%d lines:\n%s", lines, r.stderr)
	}
}
