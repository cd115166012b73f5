package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelease: two clones in different directories give the same bytes, and
// what is in them works.
func TestRelease(t *testing.T) {
	const version = "v0.0.0-test"
	var outs [2]string
	for i := range outs {
		src := filepath.Join(t.TempDir(), "src")
		output(t, "git", "clone", "-q", "..", src)
		outs[i] = t.TempDir()
		output(t, filepath.Join(src, "scripts/release"), version, outs[i])
	}
	entries, err := os.ReadDir(outs[0])
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d files, %v; want two archives, two bills of materials and the checksums", len(entries), err)
	}
	for _, e := range entries {
		a, b := readFile(t, filepath.Join(outs[0], e.Name())), readFile(t, filepath.Join(outs[1], e.Name()))
		if !bytes.Equal(a, b) {
			t.Errorf("%s is not the same from another directory", e.Name())
		}
	}
	check := exec.Command("sha256sum", "-c", "--quiet", "SHA256SUMS")
	check.Dir = outs[0]
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		name := "clipper_" + version + "_linux_" + arch
		files := unpack(t, readFile(t, filepath.Join(outs[0], name+".tar.gz")))
		for _, f := range []string{"README.md", "LICENSE", "man/clipper.1", "man/clipper-up.1", "completions/clipper.bash", "completions/clipper.zsh", "completions/clipper.fish"} {
			if len(files[name+"/"+f]) == 0 {
				t.Errorf("%s has no %s", name, f)
			}
		}
		binary := files[name+"/clipper"]
		f, err := elf.NewFile(bytes.NewReader(binary))
		if err != nil {
			t.Fatal(err)
		}
		if libs, _ := f.ImportedLibraries(); f.Machine != machine || len(libs) > 0 || f.Section(".interp") != nil {
			t.Errorf("%s: machine %v, libraries %v; want a static one of %v", name, f.Machine, libs, machine)
		}
		var bom struct {
			BomFormat  string
			Components []struct{ Purl string }
		}
		if err := json.Unmarshal(readFile(t, filepath.Join(outs[0], name+".cdx.json")), &bom); err != nil || bom.BomFormat != "CycloneDX" {
			t.Errorf("bill of materials: %q, %v", bom.BomFormat, err)
		}
		var purls []string
		for _, c := range bom.Components {
			purls = append(purls, c.Purl)
		}
		for _, want := range []string{"pkg:golang/github.com/nats-io/nats.go@", "pkg:golang/github.com/spf13/cobra@", "pkg:npm/chrome-devtools-frontend@"} {
			if !strings.Contains(strings.Join(purls, " "), want) {
				t.Errorf("the bill of materials lacks %s: %v", want, purls)
			}
		}
		if f.Machine != elf.EM_X86_64 {
			continue
		}
		path := filepath.Join(t.TempDir(), "clipper")
		if err := os.WriteFile(path, binary, 0o755); err != nil {
			t.Fatal(err)
		}
		if out := output(t, path, "version"); !strings.HasPrefix(out, "clipper "+version+" ") {
			t.Errorf("version: %q", out)
		}
	}
}

func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
