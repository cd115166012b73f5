package browsertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/cdpgw"
	"clipper/cdpgw/internal/fixture"
)

// beGateway makes the test binary a gateway over the fixtures, on descriptor 3.
const beGateway = "BROWSERTEST_GATEWAY"

const secret = "browsertest-secret-path"

func TestMain(m *testing.M) {
	if os.Getenv(beGateway) == "" {
		os.Exit(m.Run())
	}
	g, err := cdpgw.New(cdpgw.Options{ListenFD: 3, SecretPath: secret, Discovery: true, Title: "curl"})
	if err != nil {
		panic(err)
	}
	for _, n := range []string{"h2-get", "h1-post"} {
		steps, err := fixture.Read(filepath.Join("../testdata", n+".jsonl"))
		if err != nil {
			panic(err)
		}
		for _, s := range steps {
			if s.Record != nil {
				g.Process(s.Record)
			}
		}
	}
	g.Flush()
	select {}
}

// kill -9 of the gateway while a page is open: the page comes back by itself.
func TestKilledGateway(t *testing.T) {
	b := chromium(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/"
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	defer f.Close()
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), beGateway+"=1")
		c.ExtraFiles = []*os.File{f}
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		return c
	}
	g := start()
	b.open(url, 4)
	var mark int
	b.Eval("(globalThis.beforeKill = 1)", &mark)
	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.Wait()
	if !b.Until(func() bool { return strings.Contains(b.Text("clipperTest.body()"), "The session has ended") }) {
		t.Error("the page does not say that the session has gone")
	}
	b.shot("disconnected")
	start()
	if !b.Until(func() bool { b.Eval("globalThis.beforeKill ?? 0", &mark); return mark == 0 }) {
		b.shot("not-reloaded")
		t.Fatal("the page did not reload")
	}
	b.Rows(4)
	b.Item("users?page=1", "Response", "Grace")
}
