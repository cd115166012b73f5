package integration

import (
	"path/filepath"
	"testing"
)

// Where the secrets come from, as the HAR says it.
const hook, environment, agent = "hook", "SSLKEYLOGFILE", "agent"

// either is for a large program, whose search may take longer than it is waited for.
const either = hook + " or " + environment

func subjects(t *testing.T) []subject {
	f := newFetcher(t)
	const ( // versions
		curl    = `curl --version | sed 's/curl \([^ ]*\).*OpenSSL.\([^ ]*\).*/\1, OpenSSL \2/;q'`
		python  = `/usr/bin/python3 -c 'import ssl, sys; print(sys.version.split()[0] + ", " + " ".join(ssl.OPENSSL_VERSION.split()[:2]))'`
		node    = `/usr/bin/node -p 'process.version.slice(1) + ", OpenSSL " + process.versions.openssl'`
		openssl = `openssl version | cut -d' ' -f1,2`
		java    = `java -version 2>&1 | sed 's/.*version "\(.*\)".*/\1/;q'`
		wget    = `wget --version | sed 's/GNU Wget \([^ ]*\).*/\1/;q'`
	)
	gnutls := ", GnuTLS $(dpkg-query -W -f '${Version}' libgnutls30 | sed 's/-.*//')"
	with := func(version, more string) string { return `echo "$(` + version + `)` + more + `"` }
	host := shell("exec $BIN localhost $3 $4")
	sClient := `req() { printf 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$4" "$2"; }
req "$@" | openssl s_client -quiet -connect $2 -sess_out s.pem 2>/dev/null >/dev/null
req "$@" | openssl s_client -quiet -connect $2 -sess_in s.pem 2>/dev/null >/dev/null`
	gnutlsCLI := `printf 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$4" "$2" | gnutls-cli --insecure --resume --waitresumption -p $3 localhost >/dev/null 2>&1`
	tstclnt := `mkdir db; certutil -N -d sql:db --empty-password
printf 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$4" "$2" >request
tstclnt -h localhost -p $3 -4 -o -d sql:db -A request -L 2 >/dev/null 2>&1`
	firefox := `mkdir p; cp ` + f.file("user.js") + ` p
print=$(openssl x509 -in $CA -noout -fingerprint -sha256 | cut -d= -f2)
printf 'localhost:%s:\tOID.2.16.840.1.101.3.4.2.1\t%s\t\n' $3 $print >p/cert_override.txt
exec firefox-esr --headless --no-remote --profile $PWD/p --screenshot $PWD/page.png $1`
	python11 := func() string {
		return f.pip("openssl11", "cryptography==3.4.8", "pyOpenSSL==21.0.0", "six==1.16.0", "cffi==1.17.1", "pycparser==2.22")
	}
	curlCFFI := func() string {
		return f.pip("curl-cffi", "curl_cffi==0.17.0", "cffi==2.1.1", "pycparser==3.12", "certifi==2026.10.19.post1")
	}
	jdk := func(version string) func() string { return func() string { f.java(); return f.jdk(version) } }
	classes := filepath.Join(f.dir, "java")
	npm := func(pkg, bin string) func() string { return func() string { return f.npm(pkg, bin) } }
	golang := func(toolchain string, flags ...string) func() string {
		return func() string { return f.golang(toolchain, flags...) }
	}
	const itsVersion = `"$BIN" --version 2>/dev/null | grep -o '[0-9][0-9.]*[0-9]' | head -n1`
	return []subject{
		{stack: "OpenSSL 3", name: "curl", version: curl, need: installed("/usr/bin/curl"), argv: shell("curl -sk --http1.1 $1 $1"), mechanism: hook, library: "openssl", resumes: tls13},
		{stack: "OpenSSL 3", name: "curl, environment cleared", version: curl, need: installed("/usr/bin/curl"), argv: shell("env -i curl -sk --http1.1 $1 $1"), mechanism: hook, library: "openssl", resumes: tls13},
		{stack: "OpenSSL 3", name: "python3 ssl", version: python, need: installed("/usr/bin/python3"), argv: program("/usr/bin/python3", f.file("py_session.py")), mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3", name: "python3 urllib", version: python, need: installed("/usr/bin/python3"), argv: program("/usr/bin/python3", f.file("py_urllib.py")), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3", name: "python3 requests", version: python, need: installed("/usr/lib/python3/dist-packages/requests"), argv: program("/usr/bin/python3", f.file("py_requests.py")), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3", name: "python3 httpx", version: python, need: installed("/usr/lib/python3/dist-packages/httpx"), argv: program("/usr/bin/python3", f.file("py_httpx.py")), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3", name: "openssl s_client", version: openssl, need: installed("/usr/bin/openssl"), argv: shell(sClient), mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3", name: "perl IO::Socket::SSL", version: "perl -e 'printf \"%vd\", $^V'", need: installed("/usr/share/perl5/IO/Socket/SSL.pm"), argv: program("/usr/bin/perl", f.file("get.pl")), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3", name: "php", version: "php -r 'echo PHP_VERSION;'", need: installed("/usr/bin/php"), argv: program("/usr/bin/php", f.file("get.php")), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3", name: "ruby", version: "ruby -e 'print RUBY_VERSION'", need: installed("/usr/bin/ruby"), argv: program("/usr/bin/ruby", f.file("get.rb")), mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3", name: "C, shared", version: openssl, need: f.openSSL, argv: host, mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3", name: "git", version: with("git --version | cut -d' ' -f3", ", $("+openssl+")"), need: f.gitOpenSSL, argv: shell("LD_LIBRARY_PATH=$BIN git -c http.sslVerify=false ls-remote $1 2>/dev/null; true"), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 3, static", name: "node https", version: node, need: installed("/usr/bin/node"), argv: program("/usr/bin/node", f.file("get.js")), mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3, static", name: "node fetch", version: node, need: installed("/usr/bin/node"), argv: program("/usr/bin/node", f.file("fetch.mjs")), mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3, static", name: "C, symbols kept", version: openssl, need: f.openSSLStatic, argv: host, mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL 3, static", name: "C, stripped", version: openssl, need: f.openSSLStripped, argv: host, mechanism: hook, library: "openssl", resumes: always},
		{stack: "OpenSSL, static musl", name: "sentry-cli, environment cleared", version: itsVersion, need: npm("@sentry/cli-linux-x64@3.8.0", "bin/sentry-cli"), argv: shell("printf '[http]\\nverify_ssl=false\\n' >.sentryclirc; env -i HOME=$PWD $BIN --url https://$2 --auth-token x info >/dev/null 2>&1 || true"), mechanism: hook, library: "openssl"},
		{stack: "OpenSSL 1.1", name: "python3 cryptography", version: `PYTHONPATH=$BIN /usr/bin/python3 -W ignore -c 'from OpenSSL import SSL; print(" ".join(SSL.SSLeay_version(0).decode().split()[:2]))'`,
			need: python11, argv: shell("PYTHONPATH=$BIN exec /usr/bin/python3 -W ignore " + f.file("py_openssl.py") + " $1"), mechanism: hook, library: "openssl", resumes: always},
		{stack: "BoringSSL, static", name: "python3 curl_cffi", version: "echo 0.17.0", need: curlCFFI, argv: shell("PYTHONPATH=$BIN exec /usr/bin/python3 " + f.file("py_curl_cffi.py") + " $1"), mechanism: hook, library: "boringssl", resumes: always},
		{stack: "BoringSSL, static, stripped", name: "bun", version: itsVersion, need: npm("@oven/bun-linux-x64@1.4.5", "bin/bun"), argv: itself(f.file("fetch.mjs")), mechanism: hook, library: "boringssl"},
		{stack: "GnuTLS", name: "wget", version: with(wget, gnutls), need: installed("/usr/bin/wget"), argv: shell("wget -qO- --no-check-certificate $1 $1"), mechanism: hook, library: "gnutls"},
		{stack: "GnuTLS", name: "wget, environment cleared", version: with(wget, gnutls), need: installed("/usr/bin/wget"), argv: shell("env -i wget -qO- --no-check-certificate $1 $1"), mechanism: hook, library: "gnutls"},
		{stack: "GnuTLS", name: "wget2", version: with("wget2 --version | sed 's/GNU Wget2 \\([^ ]*\\).*/\\1/;q'", gnutls), need: installed("/usr/bin/wget2"), argv: shell("wget2 -qO- --no-check-certificate --no-http2 --max-threads=1 $1"), mechanism: hook, library: "gnutls"},
		{stack: "GnuTLS", name: "gnutls-cli", version: with("true", "$(gnutls-cli --version | sed 's/gnutls-cli //;q')"), need: installed("/usr/bin/gnutls-cli"), argv: shell(gnutlsCLI), mechanism: hook, library: "gnutls", resumes: always},
		{stack: "GnuTLS", name: "git", version: with("git --version | cut -d' ' -f3", gnutls), need: installed("/usr/lib/git-core/git-remote-https"), argv: shell("git -c http.sslVerify=false ls-remote $1 2>/dev/null; true"), mechanism: hook, library: "gnutls"},
		{stack: "NSS without key log", name: "tstclnt", version: "dpkg-query -W -f '${Version}' libnss3 | sed 's/.*://;s/-.*//'", need: installed("/usr/bin/tstclnt"), argv: shell(tstclnt), mechanism: hook, library: "nss", resumes: tls13},
		{stack: "NSS", name: "firefox-esr", version: "firefox-esr --version 2>/dev/null | grep -o '[0-9][0-9.]*'", need: installed("/usr/bin/firefox-esr"), argv: shell(firefox), mechanism: hook, library: "nss", browser: true},
		{stack: "Go crypto/tls", name: "stripped", version: "go env GOVERSION | cut -c3-", need: golang(""), argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "Go crypto/tls", name: "stripped, PIE", version: "go env GOVERSION | cut -c3-", need: golang("", "-buildmode=pie"), argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "Go crypto/tls", name: "stripped, cgo", version: "go env GOVERSION | cut -c3-", need: f.golangCgo, argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "Go crypto/tls", name: "stripped, Go 1.21", version: "echo 1.21.13", need: golang("go1.21.13"), argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "Go crypto/tls", name: "stripped, Go 1.19", version: "/usr/lib/go-1.19/bin/go env GOVERSION | cut -c3-", need: golang("/usr/lib/go-1.19/bin/go"), argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "Go utls", name: "stripped", version: "sed -n 's/^require .*utls v//p' testdata/keys/utls/go.mod", need: f.utls, argv: itself(), mechanism: hook, library: "go", resumes: always},
		{stack: "rustls", name: "reqwest", version: "echo 0.23", need: f.rust, argv: itself("reqwest"), mechanism: hook, library: "rustls", resumes: always},
		{stack: "rustls", name: "ureq", version: "echo 0.23", need: f.rust, argv: itself("ureq"), mechanism: hook, library: "rustls", resumes: always},
		{stack: "rustls", name: "hyper-rustls", version: "echo 0.23", need: f.rust, argv: itself("hyper-rustls"), mechanism: hook, library: "rustls", resumes: always},
		{stack: "rustls", name: "0.21 beside 0.23 in one program", version: "echo 0.21", need: f.rust, argv: itself("0.21"), mechanism: hook, library: "rustls", resumes: always},
		{stack: "rustls", name: "KeyLogFile, environment cleared", version: "echo 0.23", need: f.rust, argv: shell("exec env -i $BIN file $1"), mechanism: hook, library: "rustls", resumes: always},
		{stack: "rustls", name: "LTO, stripped", version: "echo 0.23", need: f.rustLTO, argv: shell("exec $BIN https://$2/"), mechanism: hook, library: "rustls"},
		{stack: "rustls", name: "deno", version: itsVersion, need: npm("@deno/linux-x64-glibc@2.9.6", "deno"), argv: itself("run", "-A", "--unsafely-ignore-certificate-errors", f.file("fetch.mjs")), mechanism: hook, library: "rustls"},
		{stack: "Java JSSE", name: "HttpClient", version: java, need: f.java, argv: shell("exec java -cp $BIN Get new $1"), mechanism: agent, library: "jsse", resumes: tls13},
		{stack: "Java JSSE", name: "HttpsURLConnection", version: java, need: f.java, argv: shell("exec java -cp $BIN Get old $1"), mechanism: agent, library: "jsse", resumes: tls13},
		{stack: "Java JSSE", name: "OkHttp", version: java, need: f.okHTTP, argv: shell("exec java -cp $BIN OkGet $1"), mechanism: agent, library: "jsse", resumes: tls13},
		{stack: "Java JSSE", name: "HttpsURLConnection, Java 11", version: `$BIN -version 2>&1 | sed 's/.*version "\([^"]*\)".*/\1/;q'`, need: jdk("11.0.13.1"), argv: itself("-cp", classes, "Get", "old"), mechanism: agent, library: "jsse", resumes: tls13},
		{stack: "Java JSSE", name: "HttpsURLConnection, Java 21", version: `$BIN -version 2>&1 | sed 's/.*version "\([^"]*\)".*/\1/;q'`, need: jdk("21.0.8.2"), argv: itself("-cp", classes, "Get", "old"), mechanism: agent, library: "jsse", resumes: tls13},
		{stack: "BoringSSL", name: "chromium", version: "chromium --version 2>/dev/null | grep -o '[0-9][0-9.]*' | head -n1", need: installed("/usr/bin/chromium"),
			argv: shell("exec chromium --headless --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --user-data-dir=$PWD/p --ignore-certificate-errors --dump-dom $1 2>/dev/null"), mechanism: either, library: "boringssl", browser: true},
		{stack: "mbed TLS", name: "C, shared", version: "dpkg-query -W -f '${Version}' libmbedtls14 | sed 's/-.*//'", need: func() string { return f.cc("mbedtls", "mbedtls", "-lmbedtls", "-lmbedx509", "-lmbedcrypto") }, argv: host, mechanism: hook, library: "mbedtls", resumes: always, only12: true},
	}
}
