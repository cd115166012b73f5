//go:build linux

package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// sshIncludes lists the files that an ssh_config(5) includes, directly and
// through others. ssh refuses them unless they belong to root or its user, and
// who is not root sees root's files as nobody's in the namespace: a copy of the
// user's own has to lie over each.
func sshIncludes(config string) []string {
	const maxDepth, maxFiles = 16, 256 // OpenSSH: READCONF_MAX_DEPTH
	dir := filepath.Dir(config)
	var list []string
	seen := map[string]bool{config: true}
	var follow func(path string, depth int)
	follow = func(path string, depth int) {
		b, err := os.ReadFile(path)
		if err != nil || depth > maxDepth {
			return
		}
		for line := range strings.Lines(string(b)) {
			f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n=\"", r) })
			if len(f) < 2 || !strings.EqualFold(f[0], "include") {
				continue
			}
			for _, pattern := range f[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(dir, pattern)
				}
				files, _ := filepath.Glob(pattern)
				for _, file := range files {
					if !seen[file] && len(list) < maxFiles {
						seen[file] = true
						list = append(list, file)
						follow(file, depth+1)
					}
				}
			}
		}
	}
	follow(config, 1)
	return list
}
