package inject

import (
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/scan"
)

// fileKey identifies a file's content well enough: what it is wrong about is
// found out when the text is compared before it is patched. A new link or mode
// changes it, too.
type fileKey struct {
	dev, ino uint64
	size     int64
	mtime    unix.Timespec
	ctime    unix.Timespec
}

const (
	maxCached = 4096    // files
	maxFile   = 4 << 30 // bytes of a file that is searched
)

// cache remembers what was found in files.
type cache struct {
	mu      sync.Mutex
	results map[fileKey]*search
	disk    *disk
}

type search struct {
	done chan struct{}
	res  *scan.Result
}

func newCache(dir string) *cache { return &cache{results: map[fileKey]*search{}, disk: openDisk(dir)} }

func statKey(path string) (fileKey, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileKey{}, false
	}
	return fileKey{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// lookup is the result for the file if it is known already. A file that is not
// regular is known to hold nothing (nil).
func (c *cache) lookup(path string) (res *scan.Result, known bool) {
	k, ok := statKey(path)
	if !ok {
		return nil, true
	}
	c.mu.Lock()
	s := c.results[k]
	c.mu.Unlock()
	if s == nil {
		return nil, false
	}
	select {
	case <-s.done:
		return s.res, true
	default:
		return nil, false
	}
}

// search is the result for the file, found now if need be. After limit it is
// a result that says so; the search goes on for the next who asks.
func (c *cache) search(path string, limit time.Duration) *scan.Result {
	k, ok := statKey(path)
	if !ok {
		return nil
	}
	c.mu.Lock()
	s := c.results[k]
	if s == nil {
		if len(c.results) >= maxCached {
			clear(c.results)
		}
		s = &search{done: make(chan struct{})}
		c.results[k] = s
		go c.run(s, path, k)
	}
	c.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-s.done:
		return s.res
	case <-t.C:
		return &scan.Result{Library: "unknown", Reason: slow.text, Help: slow.help}
	}
}

func (c *cache) run(s *search, path string, k fileKey) {
	defer close(s.done)
	if s.res = c.disk.load(k); s.res != nil {
		return
	}
	if s.res = searchFile(path, k); s.res == nil {
		c.mu.Lock() // it could not be read: another time perhaps
		delete(c.results, k)
		c.mu.Unlock()
	} else if now, ok := statKey(path); ok && now == k {
		c.disk.save(k, s.res)
	}
}

func searchFile(path string, k fileKey) *scan.Result {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if now, ok := statKey("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); !ok || now != k {
		return nil
	}
	if k.size == 0 || k.size > maxFile {
		return &scan.Result{}
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(k.size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	defer unix.Munmap(b)
	res, _ := scan.File(b, machine)
	return res
}
