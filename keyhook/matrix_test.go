package keyhook

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"
)

// subject is a row of the matrix: a program that fetches a URL once.
type subject struct {
	name      string
	program   string // that must be there; "" for what was built
	argv      func(url string) []string
	mechanism string // of the secrets
	library   string // of the hook; "" for SSLKEYLOGFILE
	many      bool   // makes connections of its own besides
	plainOnly bool   // does not run as root
}

// command is a program with fixed arguments before the URL.
func command(args ...string) func(string) []string {
	return func(url string) []string { return append(append([]string(nil), args...), url) }
}

// cleared is the same with an empty environment.
func cleared(args ...string) func(string) []string {
	return command(append([]string{"/usr/bin/env", "-i"}, args...)...)
}

// hostPort splits a URL for programs that want it so.
func hostPort(url string) (string, string) {
	host, port, _ := strings.Cut(strings.Trim(strings.TrimPrefix(url, "https://"), "/"), ":")
	return host, port
}

func subjects(t *testing.T, b *bench) []subject {
	const curl, python, node = "/usr/bin/curl", "/usr/bin/python3", "/usr/bin/node"
	plain := b.build(t, "goclient", "go-plain")
	stripped := b.build(t, "goclient", "go-stripped", "-trimpath", "-ldflags=-s -w")
	pie := b.build(t, "goclient", "go-pie", "-trimpath", "-buildmode=pie", "-ldflags=-s -w")
	script := func(name string) string { return b.file(t, "scripts/"+name) }
	static, staticStripped := b.static(t)
	rust, rustLTO := b.rust(t)
	chain := func(program string) func(string) []string {
		return func(url string) []string {
			host, port := hostPort(url)
			return []string{program, host, port, "before"}
		}
	}
	return []subject{
		{name: "curl", program: curl, argv: command(curl, "-sk"), mechanism: "hook", library: "openssl"},
		{name: "curl, env -i", program: curl, argv: cleared(curl, "-sk"), mechanism: "hook", library: "openssl"},
		{name: "sh, curl", program: curl, argv: func(u string) []string { return []string{"/bin/sh", "-c", "(curl -sk " + u + ") | cat"} }, mechanism: "hook", library: "openssl"},
		{name: "python3", program: python, argv: command(python, script("get.py")), mechanism: "hook", library: "openssl"},
		{name: "python3, env -i", program: python, argv: cleared(python, script("get.py")), mechanism: "hook", library: "openssl"},
		{name: "openssl s_client", program: "/usr/bin/openssl", argv: func(u string) []string {
			host, port := hostPort(u)
			return []string{"/usr/bin/openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", host + ":" + port}
		}, mechanism: "hook", library: "openssl"},
		{name: "perl IO::Socket::SSL", program: "/usr/share/perl5/IO/Socket/SSL.pm", argv: command("/usr/bin/perl", script("get.pl")), mechanism: "hook", library: "openssl"},
		{name: "php", program: "/usr/bin/php", argv: command("/usr/bin/php", script("get.php")), mechanism: "hook", library: "openssl"},
		{name: "ruby", program: "/usr/bin/ruby", argv: command("/usr/bin/ruby", script("get.rb")), mechanism: "hook", library: "openssl"},
		{name: "node https", program: node, argv: command(node, script("get.js")), mechanism: "hook", library: "openssl"},
		{name: "node fetch", program: node, argv: command(node, script("fetch.mjs")), mechanism: "hook", library: "openssl"},
		{name: "static OpenSSL", program: static, argv: chain(static), mechanism: "hook", library: "openssl"},
		{name: "static OpenSSL, stripped", program: staticStripped, argv: chain(staticStripped), mechanism: "hook", library: "openssl"},
		{name: "Go", program: plain, argv: command(plain), mechanism: "hook", library: "go"},
		{name: "Go, stripped", program: stripped, argv: command(stripped), mechanism: "hook", library: "go"},
		{name: "Go, stripped PIE", program: pie, argv: command(pie), mechanism: "hook", library: "go"},
		{name: "wget (GnuTLS)", program: "/usr/bin/wget", argv: command("/usr/bin/wget", "-qO-", "--no-check-certificate"), mechanism: "SSLKEYLOGFILE"},
		{name: "wget (GnuTLS), env -i", program: "/usr/bin/wget", argv: cleared("/usr/bin/wget", "-qO-", "--no-check-certificate"), mechanism: "hook", library: "gnutls"},
		{name: "git (GnuTLS)", program: "/usr/lib/git-core/git-remote-https", argv: func(u string) []string {
			return []string{"/bin/sh", "-c", "git -c http.sslVerify=false ls-remote " + u + " 2>/dev/null; true"}
		}, mechanism: "SSLKEYLOGFILE", many: true},
		{name: "rustls 0.23", program: rust, argv: command(rust), mechanism: "hook", library: "rustls"},
		{name: "rustls 0.23, LTO, stripped", program: rustLTO, argv: command(rustLTO), mechanism: "hook", library: "rustls"},
		{name: "rustls KeyLogFile, env -i", program: rustLTO, argv: func(u string) []string { return append(cleared(rustLTO)(u), "file") }, mechanism: "hook", library: "rustls"},
		{name: "java HttpClient", program: "/usr/bin/javac", argv: command("/usr/bin/java", "-Djdk.internal.httpclient.disableHostnameVerification=true", b.file(t, "java/Get.java"), "new"), mechanism: "agent", library: "jsse"},
		{name: "java HttpsURLConnection", program: "/usr/bin/javac", argv: command("/usr/bin/java", b.file(t, "java/Get.java"), "old"), mechanism: "agent", library: "jsse"},
		{name: "chromium", program: "/usr/bin/chromium", argv: command("/usr/bin/chromium", "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--ignore-certificate-errors", "--dump-dom"),
			mechanism: "both", many: true, plainOnly: true},
	}
}

// TestMatrix compares every secret with the server's own key log.
func TestMatrix(t *testing.T) {
	b := newBench(t)
	var table strings.Builder
	row := func(cells ...any) { fmt.Fprintf(&table, "| %-26v | %-4v | %-6v | %-14v | %v |\n", cells...) }
	row("subject", "TLS", "user", "mechanism", "result")
	row("---", "---", "---", "---", "---")
	servers := map[string]*tlsServer{"1.3": newServer(t, tls.VersionTLS13), "1.2": newServer(t, tls.VersionTLS12)}
	for _, s := range subjects(t, b) {
		if _, err := os.Stat(s.program); err != nil {
			row(s.name, "", "", s.mechanism, "SKIPPED: "+s.program+" is not there")
			continue
		}
		for i, version := range []string{"1.3", "1.2"} {
			// Each version as another user, half of the subjects the other way round.
			who, as := "plain", b.user
			if as == nil || (i+len(s.name))%2 == 1 && !s.plainOnly {
				who, as = "root", nil
			}
			if as == nil && s.plainOnly {
				row(s.name, version, "", s.mechanism, "SKIPPED: no unprivileged user")
				continue
			}
			ok := t.Run(s.name+"/"+version+"/"+who, func(t *testing.T) {
				srv := servers[version]
				srv.lines()
				o := b.run(t, as, nil, s.argv(srv.URL)...)
				truth := srv.lines()
				connections := 1
				if s.many {
					connections = len(clientRandoms(truth))
				}
				if o.check(t, truth, connections); len(truth) == 0 {
					t.Error("nothing was fetched")
				}
				for _, x := range o.objects {
					if s.mechanism == "both" { // whichever is first
						break
					}
					if x.Mechanism != s.mechanism || x.Library != s.library || x.PID == 0 && s.mechanism == mechanismHook {
						t.Errorf("secret from %q of %q, pid %d; want %q of %q", x.Mechanism, x.Library, x.PID, s.mechanism, s.library)
						break
					}
				}
			})
			result := "OK"
			if !ok {
				result = "FAIL"
			}
			row(s.name, version, who, s.mechanism, result)
		}
	}
	fmt.Print(table.String())
}
