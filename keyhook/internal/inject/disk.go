package inject

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/scan"
)

// Limits of what is kept on disk. To search a file of largeFile bytes takes some
// 20 ms; smaller ones are searched anew.
const (
	largeFile = 8 << 20
	maxOnDisk = 256     // files; then all are given up
	maxStored = 1 << 20 // bytes of one
)

// disk keeps the results for large files in a directory that only this user can
// write to. An old or wrong one does no harm: the text is compared before it is
// patched.
type disk struct {
	dir  string
	self fileKey // of this program: another one may find other things
}

// stored is one file of the cache.
type stored struct {
	Self, File string
	Result     *scan.Result
}

// openDisk uses the directory, which is made for the first result. nil keeps nothing.
func openDisk(dir string) *disk {
	self, ok := statKey("/proc/self/exe")
	if dir == "" || !ok {
		return nil
	}
	return &disk{dir, self}
}

// private reports whether the directory is there and this user's alone.
func (d *disk) private() bool {
	var st unix.Stat_t
	return unix.Lstat(d.dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0
}

func (d *disk) path(k fileKey) string {
	return filepath.Join(d.dir, fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, d.self, k))))
}

// load is the result for a file, nil if there is none.
func (d *disk) load(k fileKey) *scan.Result {
	if d == nil || k.size < largeFile || !d.private() {
		return nil
	}
	path := d.path(k)
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() || st.Size() > maxStored {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var s stored
	if json.Unmarshal(b, &s) != nil || s.Self != fmt.Sprint(d.self) || s.File != fmt.Sprint(k) {
		return nil
	}
	return s.Result
}

// save keeps the result for a file. What goes wrong costs a search later.
func (d *disk) save(k fileKey, r *scan.Result) error {
	if d == nil || k.size < largeFile || os.MkdirAll(d.dir, 0o700) != nil || !d.private() {
		return nil
	}
	b, err := json.Marshal(stored{fmt.Sprint(d.self), fmt.Sprint(k), r})
	if err != nil || len(b) > maxStored {
		return err
	}
	if there, err := os.ReadDir(d.dir); err == nil && len(there) >= maxOnDisk {
		for _, e := range there {
			os.Remove(filepath.Join(d.dir, e.Name()))
		}
	}
	f, err := os.CreateTemp(d.dir, "new")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path(k))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
