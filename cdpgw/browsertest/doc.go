// Package browsertest looks at the gateway through real browsers: it opens the
// served page in headless Chromium and reads the rendered DOM. It is a module
// of its own, so that Clipper does not depend on a browser's driver.
//
//	cd cdpgw/browsertest && GOWORK=off go test ./...
package browsertest
