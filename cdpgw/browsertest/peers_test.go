package browsertest

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// peers is what clients/peers.mjs prints.
type peers struct {
	Version  string
	Targets  []string
	Events   int
	Body     string
	Unknown  string
	Problems []string
	Methods  []string
	HAR      []struct {
		Method, URL, Version, IP, Redirect string
		Status                             int

		Blocked, Connect, SSL, Send, Wait, Receive float64
	}
	Puppeteer, Playwright json.RawMessage
}

// Independent clients understand the gateway, and every event fits the
// published protocol.
func TestPeers(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm is not installed")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("clients")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
	install.Dir = dir
	if b, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm can't install the clients: %v\n%s", err, b)
	}
	g := gateway(t)
	u, err := url.Parse(g.Status().URL)
	if err != nil {
		t.Fatal(err)
	}
	result := filepath.Join(dir, "result.json")
	run := exec.CommandContext(ctx, "node", "peers.mjs", u.Port(), result)
	run.Dir = dir
	if b, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	b, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	var p peers
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events of %d kinds: %v", p.Events, len(p.Methods), p.Methods)
	for _, problem := range p.Problems {
		t.Error("protocol:", problem)
	}
	if len(p.Targets) != 3 || p.Targets[0] != "node" || !strings.HasPrefix(p.Version, "Clipper/") {
		t.Errorf("discovery: %q %q", p.Version, p.Targets)
	}
	if !strings.Contains(p.Body, "Grace") || !strings.Contains(p.Unknown, "wasn't found") {
		t.Errorf("calls: %q %q", p.Body, p.Unknown)
	}
	for _, e := range p.HAR {
		t.Logf("HAR %+v", e)
		if e.Blocked < -1 || e.Send < 0 || e.Wait < 0 || e.Receive < 0 {
			t.Errorf("HAR: negative times: %+v", e)
		}
	}
	if len(p.HAR) < 15 {
		t.Fatalf("HAR has %d entries", len(p.HAR))
	}
	if e := p.HAR[0]; e.URL != "https://api.example.test/v1/users?page=1&q=a%20b" || e.Status != 200 || e.Connect != 51 || e.SSL != 30.8 || e.Wait != 44.5 {
		t.Errorf("HAR: first entry %+v", e)
	}
	if string(p.Puppeteer) == "" || p.Puppeteer[0] != '{' {
		t.Errorf("puppeteer: %s", p.Puppeteer)
	}
	if string(p.Playwright) == "" || p.Playwright[0] != '{' {
		t.Errorf("playwright: %s", p.Playwright)
	}
	t.Logf("puppeteer %s, playwright %s", p.Puppeteer, p.Playwright)
}
