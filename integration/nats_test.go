package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/integration/truth"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// natsCommand is a directory with the nats command, which scripts/test builds, where
// everybody can run it.
func natsCommand(t *testing.T) string {
	path, err := exec.LookPath("nats")
	if err != nil {
		path = "../bin/tools/nats"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("the nats command is not there")
	}
	dir := filepath.Join(workDir, "natscli")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("cp", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, b)
	}
	return dir
}

// TestNATSCommand: the line that `clipper ps` prints, given to a shell as it is,
// follows the requests with the nats command.
func TestNATSCommand(t *testing.T) {
	dir := natsCommand(t)
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	s := startSession(t, w, "-q", "--no-devtools")
	s.do(t, "true") // the session is there
	out, stderr, code := s.clipper(t, "ps")
	_, line, ok := strings.Cut(out, "  nats      ")
	if code != 0 || !ok {
		t.Fatalf("ps: exit %d %s %s", code, out, stderr)
	}
	line, _, _ = strings.Cut(line, "\n")
	cmd := w.command(t, "sh", "-c", "exec "+line)
	cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"))
	ended := make(chan struct{})
	var said syncBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(ended) }()
	eventually(t, "the request is shown", func() bool {
		s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/one", ca, srv.URL))
		select {
		case <-ended:
			t.Fatalf("the nats command has ended: %s", said.String())
		default:
		}
		return strings.Contains(said.String(), srv.URL+"/json/one")
	})
	cmd.Process.Kill()
	<-ended
	s.end(t)
}

// TestPlainNATS: what `clipper ps` prints is enough for the plain nats command,
// here as its library, to follow the requests, and for nothing else.
func TestPlainNATS(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, plainUser(t), "-q", "--no-devtools", "--partitions", "1")
	s.do(t, "true") // the session is there
	out, stderr, code := s.clipper(t, "ps")
	_, line, ok := strings.Cut(out, "nats --server ")
	if code != 0 || !ok {
		t.Fatalf("ps: exit %d %s %s", code, out, stderr)
	}
	f := strings.Fields(line) // URL --nkey FILE sub 'SUBJECT'
	auth, err := nats.NkeyOptionFromSeed(f[2])
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(f[0], auth)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(strings.Trim(f[4], "'"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/one", ca, srv.URL))
	for seen := false; !seen; {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("no request came: %v", err)
		}
		for line := range strings.Lines(string(m.Data)) {
			var e struct {
				Type    string
				Request struct{ URL string }
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%v in %q", err, line)
			}
			seen = seen || e.Type == "request" && e.Request.URL == srv.URL+"/json/one"
		}
	}
	id := strings.Split(f[4], ".")[1]
	if _, err := nc.Request("clipper."+id+".ctl.up", []byte(`{"op":"restart","role":"httpdec"}`), time.Second); err == nil {
		t.Error("the read-only user can restart a role")
	}

	// Rates come from what the roles say of themselves, once a second.
	eventually(t, "what the roles say of themselves", func() bool {
		out, _, _ := s.clipper(t, "ps", "--json")
		cmd := exec.Command("jq", "-c", `[.[0].seen.exchanges, (.[0].roles[] | select(.name == "httpdec") | .inRecords > 0, .rss > 1000000)]`)
		cmd.Stdin = strings.NewReader(out)
		b, err := cmd.CombinedOutput()
		return err == nil && string(b) == "[1,true,true]\n"
	})
	s.end(t)
}

// natsServer runs a nats-server of its own process, with an operator, an account
// with JetStream, and a credentials file of a user in it.
func natsServer(t *testing.T, w who) (url, creds string) {
	t.Helper()
	bin := build(t, "github.com/nats-io/nats-server/v2")
	dir := w.dir(t)
	key := func(kp nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return kp, public
	}
	operator, operatorKey := key(nkeys.CreateOperator())
	account, accountKey := key(nkeys.CreateAccount())
	_, systemKey := key(nkeys.CreateAccount())
	user, userKey := key(nkeys.CreateUser())
	encode := func(s string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	oc := jwt.NewOperatorClaims(operatorKey)
	oc.SystemAccount = systemKey
	ac := jwt.NewAccountClaims(accountKey)
	ac.Limits.JetStreamLimits.DiskStorage, ac.Limits.JetStreamLimits.MemoryStorage = jwt.NoLimit, jwt.NoLimit
	uc := jwt.NewUserClaims(userKey)
	config := fmt.Sprintf(`listen: "127.0.0.1:-1"
ports_file_dir: %q
jetstream { store_dir: %q, max_file_store: 100GB }
operator: %s
resolver: MEMORY
resolver_preload { %s: %s, %s: %s }
`, dir, filepath.Join(dir, "js"), encode(oc.Encode(operator)), accountKey, encode(ac.Encode(operator)), systemKey, encode(jwt.NewAccountClaims(systemKey).Encode(operator)))
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(encode(uc.Encode(account)), seed)
	if err != nil {
		t.Fatal(err)
	}
	creds = filepath.Join(dir, "user.creds")
	conf := filepath.Join(dir, "server.conf")
	os.WriteFile(creds, file, 0o600)
	os.Chown(creds, w.uid, w.gid)
	os.WriteFile(conf, []byte(config), 0o600)
	cmd := exec.Command(bin, "-c", conf)
	var log syncBuffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "the NATS server's address", func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "*.ports"))
		if len(found) == 0 {
			return false
		}
		var ports struct{ Nats []string }
		b, _ := os.ReadFile(found[0])
		if json.Unmarshal(b, &ports) != nil || len(ports.Nats) == 0 {
			return false
		}
		url = ports.Nats[0]
		return true
	})
	return url, creds
}

// TestSessionOnAnotherServer: `--nats` puts the session on a server that others
// run, and leaves nothing there.
func TestSessionOnAnotherServer(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	w := plainUser(t)
	url, creds := natsServer(t, w)
	s := startSession(t, w, "-q", "--no-devtools", "--nats", url, "--creds", creds, "--nats-max", "50MB", "--har", "out.har")
	get := func(path string) { s.do(t, fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/%s", ca, srv.URL, path)) }
	get("json/one")
	if out, stderr, code := s.clipper(t, "ps"); code != 0 || !strings.Contains(out, url) || !strings.Contains(out, "--creds") {
		t.Errorf("ps: exit %d %s %s", code, out, stderr)
	}
	tap := s.tap(t, "http")
	nc, err := nats.Connect(url, nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	streams := func() (n int) {
		for range js.StreamNames(t.Context()).Name() {
			n++
		}
		return n
	}
	if streams() == 0 {
		t.Error("the session has no streams on the server")
	}
	if _, stderr, code := s.clipper(t, "restart", "tlsdec"); code != 0 {
		t.Errorf("restart: exit %d %s", code, stderr)
	}
	get("size/300000")
	s.end(t)
	sameAsServer(t, readHAR(t, filepath.Join(s.cmd.Dir, "out.har")), srv.Log())
	if out := tap(); !strings.Contains(out, "/json/one") {
		t.Errorf("tap: %s", out)
	}
	if n := streams(); n != 0 {
		t.Errorf("%d streams are left on the server", n)
	}

	if r := run(t, w, "up", "--nats", url, "--", "touch", "ran"); r.code != 2 || !strings.Contains(r.stderr, "--creds") {
		t.Errorf("without credentials: exit %d %s", r.code, r.stderr)
	}
	if r := run(t, w, "up", "--nats", "nats://127.0.0.1:1", "--creds", creds, "--", "touch", "ran"); r.code != 125 || !strings.Contains(r.stderr, "127.0.0.1:1") || fileExists(filepath.Join(r.dir, "ran")) {
		t.Errorf("nobody there: exit %d %s", r.code, r.stderr)
	}
}
