//go:build !linux

package bodystore

import "os"

func punch(*os.File, int64, int64) {}
