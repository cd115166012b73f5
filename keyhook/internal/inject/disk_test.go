package inject

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"clipper/keyhook/internal/scan"
)

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "searches")
	d := openDisk(dir)
	if d == nil {
		t.Fatal("no cache")
	}
	k := fileKey{dev: 1, ino: 2, size: largeFile}
	want := &scan.Result{Library: "boringssl", Mechanism: "labels", Sites: []scan.Site{{Kind: scan.SSLLogSecret, Name: "f", Addr: 1 << 40, Text: []byte{0xf3, 0x0f},
		CtxOff: 8, Imports: [2]uint64{3, 4}, Slots: []scan.Slot{{Value: 5, At: 6, Rebase: true}}}}, API: map[string]uint64{scan.SSLNew: 7},
		Loads: []scan.Load{{Off: 1, Addr: 2, FileSize: 3, MemSize: 4, Exec: true}}, Relocated: true, HeaderOff: 64, SharedName: "lib"}
	if d.load(k) != nil {
		t.Error("something of an empty cache")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is there although nothing is kept")
	}
	if err := d.save(k, want); err != nil {
		t.Fatal(err)
	}
	if got := openDisk(dir).load(k); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	other := k
	other.ctime.Nsec++
	if d.load(other) != nil {
		t.Error("a changed file has the result of the old one")
	}
	newer := *d
	newer.self.ino++
	if newer.load(k) != nil {
		t.Error("another program has our result")
	}
	small := k
	small.size--
	if err := d.save(small, want); err != nil || d.load(small) != nil {
		t.Error("a small file is kept")
	}
	for _, damaged := range []string{"", "{", `{"Result":{"Library":"go"}}`} {
		if err := os.WriteFile(d.path(k), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := d.load(k); r != nil {
			t.Errorf("%q is %+v", damaged, r)
		}
	}
	for i := range 2 * maxOnDisk {
		k.ino = uint64(i)
		if err := d.save(k, want); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) > maxOnDisk || d.load(k) == nil {
		t.Errorf("%d files, %v", len(there), err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	there, _ := os.ReadDir(dir)
	now := k
	now.ino++
	if d.load(k) != nil || d.save(now, want) != nil {
		t.Error("a directory in which everybody can write is read")
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != len(there) {
		t.Error("a directory in which everybody can write is written to")
	}
	if d := openDisk(""); d.load(k) != nil || d.save(k, want) != nil {
		t.Error("no cache keeps something")
	}
}
