package up

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"

	"clipper/httpdec/har"
	"clipper/internal/session"
	"clipper/internal/sink"
)

// mended is the file, in a session's directory, with the outputs that a kill may cut
// in the middle of a write.
const mended = "outputs.json"

// cuttable is such an output. Its inode tells whether the name is still the same file.
type cuttable struct {
	Path     string
	Dev, Ino uint64
	HAR      bool // else lines
}

// noteFiles writes down what Sweep has to make whole if this process is killed.
func (r *run) noteFiles() error {
	var list []cuttable
	for _, f := range []cuttable{{Path: r.o.HAR, HAR: true}, {Path: r.o.JSON}} {
		fi, err := os.Stat(f.Path)
		if f.Path == "" || f.Path == sink.Stdout || err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if f.Path, err = filepath.Abs(f.Path); err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		f.Dev, f.Ino = uint64(st.Dev), st.Ino
		list = append(list, f)
	}
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(r.session.Path(mended), b, 0o600)
}

// Sweep removes what killed sessions left, and makes their HAR and JSON files whole.
func Sweep(base string) error {
	_, err := session.Sweep(base, mend)
	return err
}

// mend makes the files of a killed session whole. What cannot be done stays as it is:
// the user may have taken the file away, and another session may write it.
func mend(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, mended))
	var list []cuttable
	if err != nil || json.Unmarshal(b, &list) != nil {
		return
	}
	for _, f := range list {
		f.mend()
	}
}

func (c *cuttable) mend() {
	f, err := os.OpenFile(c.Path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if sink.Lock(f) != nil {
		return
	}
	fi, err := f.Stat()
	if err != nil {
		return
	}
	if st := fi.Sys().(*syscall.Stat_t); uint64(st.Dev) != c.Dev || st.Ino != c.Ino {
		return
	}
	if c.HAR {
		_ = har.Repair(f, fi.Size())
	} else {
		_ = har.RepairLines(f, fi.Size())
	}
}
