// Package frontend holds the DevTools frontend that the gateway serves:
// chrome-devtools-frontend with the Network panel alone, built by build.mjs.
package frontend

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"io/fs"
	"sync"
)

//go:embed frontend.zip
var archive []byte

// FS is the frontend's files; clipper.html is the page.
var FS = sync.OnceValue(func() fs.FS {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		panic("cdpgw: the embedded frontend.zip is damaged: " + err.Error())
	}
	return z
})
