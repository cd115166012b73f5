package scan

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// buildGo compiles a Go client for any architecture.
func buildGo(t testing.TB, arch string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "client")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, args...), "../../testdata/goclient")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOARCH="+arch)
	if o, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, o)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGo(t *testing.T) {
	stripped := []string{"-trimpath", "-ldflags=-s -w"}
	for _, c := range []struct {
		arch    string
		machine elf.Machine
		args    []string
	}{
		{"amd64", elf.EM_X86_64, nil},
		{"amd64", elf.EM_X86_64, stripped},
		{"amd64", elf.EM_X86_64, append([]string{"-buildmode=pie"}, stripped...)},
		{"arm64", elf.EM_AARCH64, stripped},
	} {
		t.Run(fmt.Sprint(c.arch, c.args), func(t *testing.T) {
			b := buildGo(t, c.arch, c.args...)
			res, err := File(b, c.machine)
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Sites) != 1 || res.Sites[0].Name != "crypto/tls.(*Config).writeKeyLog" || res.Library != "go" || len(res.Sites[0].Text) < 64 {
				t.Errorf("%q %q %+v", res.Library, res.Reason, res.Sites)
			}
		})
	}
}

func TestForeign(t *testing.T) {
	b := make([]byte, 64)
	copy(b, elf.ELFMAG)
	b[4], b[5] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB)
	le.PutUint16(b[18:], uint16(elf.EM_386))
	res, err := File(b, elf.EM_X86_64)
	if err != nil || !res.Foreign || res.Hookable() {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestShared(t *testing.T) {
	for _, c := range []struct {
		glob, library string
		sites         int
	}{
		{"/usr/lib/x86_64-linux-gnu/libssl.so.3", "openssl", 3},
		{"/usr/lib/x86_64-linux-gnu/libgnutls.so.30", "gnutls", 1},
		{"/usr/lib/x86_64-linux-gnu/libssl3.so", "nss", 1},
		{"/usr/lib/firefox-esr/libssl3.so", "nss", 1},
		{"/usr/lib/x86_64-linux-gnu/libmbedtls.so.14", "mbedtls", 1},
		{"/usr/lib/x86_64-linux-gnu/libwolfssl.so.35", "wolfssl", 0},
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", "", 0},
		{"/usr/bin/node", "openssl", 3},
	} {
		b, err := os.ReadFile(c.glob)
		if err != nil {
			t.Logf("SKIPPED: %v", err)
			continue
		}
		res, err := File(b, elf.EM_X86_64)
		if err != nil || res.Library != c.library || len(res.Sites) != c.sites {
			t.Errorf("%s: library %q, %d sites, %v", c.glob, res.Library, len(res.Sites), err)
		}
	}
}

// TestPrefixes: a file that ends anywhere is no danger.
func TestPrefixes(t *testing.T) {
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	for n := 0; n < len(b); n += 1 + n/64 {
		if res, _ := File(b[:n], elf.EM_X86_64); res.Hookable() {
			t.Fatalf("something to hook in %d bytes", n)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(elf.ELFMAG))
	f.Fuzz(func(t *testing.T, b []byte) {
		for m := range isas {
			res, _ := File(b, m)
			for _, s := range res.Sites {
				if len(s.Text) > len(b) {
					t.Fatal("text out of nothing")
				}
			}
		}
	})
}

// Magic numbers of function tables: of Go 1.18 and 1.19, and of 1.20 and later.
const go118, go120 = 0xfffffff0, 0xfffffff1

// pclntabOf makes a small table with one function of the given name.
func pclntabOf(magic uint32, name string) []byte {
	b := make([]byte, 72)
	le.PutUint32(b, magic)
	b[6], b[7] = 1, 8
	le.PutUint64(b[8:], 1)
	le.PutUint64(b[32:], 72)
	b = append(b, "\x00"+name+"\x00"...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint64(b[64:], uint64(len(b)))
	funcs := make([]byte, 12+8)
	le.PutUint32(funcs[0:], 0x100) // offset of the function
	le.PutUint32(funcs[4:], 12)    // of its _func
	le.PutUint32(funcs[8:], 0x180) // end
	le.PutUint32(funcs[16:], 1)    // name
	return append(b, funcs...)
}

func TestPclntab(t *testing.T) {
	for _, magic := range []uint32{go118, go120} {
		b := pclntabOf(magic, "github.com/x/utls.(*Config).writeKeyLog")
		p, ok := parsePclntab(b)
		if !ok {
			t.Fatalf("%#x: not read", magic)
		}
		got := p.find(keyLogFunction, 10)
		if len(got) != 1 || got[0] != (goFunc{"github.com/x/utls.(*Config).writeKeyLog", 0x100, 0x180}) {
			t.Errorf("%#x: %+v", magic, got)
		}
		for n := range b {
			if p, ok := parsePclntab(b[:n]); ok {
				p.find(keyLogFunction, 10)
			}
		}
	}
	const go116 = 0xfffffffa // which has other fields
	if _, ok := parsePclntab(pclntabOf(go116, "crypto/tls.(*Config).writeKeyLog")); ok {
		t.Error("a table of Go 1.16 was read")
	}
}

// TestOldRustls: a vtable that goes on is of another trait.
func TestOldRustls(t *testing.T) {
	at := func(addrs ...uint64) (p []pointer) {
		for _, a := range addrs {
			p = append(p, pointer{addr: a})
		}
		return p
	}
	for _, c := range []struct {
		align byte // of what stands behind
		rest  []pointer
		want  bool
	}{
		{8, nil, false},
		{8, at(48), false},     // the drop function of the next vtable
		{8, at(48, 72), false}, // the same, with its first method
		{8, at(48, 56), true},  // two more methods
		{3, at(48), true},      // one, and then no vtable
		{0, at(48), true},
		{8, at(56, 64), false}, // nothing
	} {
		b := make([]byte, 96)
		b[64] = c.align
		f := &file{b: b, segments: []segment{{kind: uint32(elf.PT_LOAD), filesz: 96}}}
		if got := f.methodAt(c.rest, 48); got != c.want {
			t.Errorf("%+v, align %d: %v", c.rest, c.align, got)
		}
	}
}

func FuzzPclntab(f *testing.F) {
	f.Add(pclntabOf(go118, "crypto/tls.(*Config).writeKeyLog"))
	f.Add(pclntabOf(go120, "crypto/tls.(*Config).writeKeyLog"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parsePclntab(b); ok {
			if got := p.find(keyLogFunction, 10); len(got) > 10 {
				t.Fatalf("%d functions", len(got))
			}
		}
	})
}

// BenchmarkFile searches large programs, if they are there.
func BenchmarkFile(b *testing.B) {
	for _, path := range []string{"/usr/lib/chromium/chromium", "/usr/bin/node", "/usr/bin/curl", "/usr/lib/x86_64-linux-gnu/libssl.so.3",
		"/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/git", "/usr/bin/gdb"} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		b.Run(filepath.Base(path), func(b *testing.B) {
			for b.Loop() {
				if _, err := File(data, elf.EM_X86_64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
