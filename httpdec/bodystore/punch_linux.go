package bodystore

import (
	"os"
	"syscall"
)

// punch gives a range of the file back to the file system; where that can't be
// done, the room stays taken until Close.
func punch(f *os.File, at, n int64) {
	const keepSize, punchHole = 1, 2 // FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
	if n >= 64<<10 {                 // smaller ones hardly free a block
		_ = syscall.Fallocate(int(f.Fd()), keepSize|punchHole, at, n)
	}
}
