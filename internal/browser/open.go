// Package browser opens pages in the user's browser.
package browser

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ErrNone says that there is nothing to open a page with.
var ErrNone = errors.New("no browser was found: set $BROWSER, or install xdg-utils")

// Open opens url with the first program of $BROWSER that there is (a list
// separated by colons, "%s" in an entry stands for the URL), or else with
// xdg-open. It returns when the program runs, and calls failed if that ends with
// an error.
func Open(url string, failed func(error)) error {
	for _, entry := range append(strings.Split(os.Getenv("BROWSER"), ":"), "xdg-open") {
		argv := strings.Fields(entry)
		if len(argv) == 0 {
			continue
		}
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		if strings.Contains(entry, "%s") {
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "%s", url)
			}
		} else {
			argv = append(argv, url)
		}
		c := exec.Command(path, argv[1:]...)
		// Its words and its signals are not those of the command on this terminal.
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return fmt.Errorf("open the browser: %w", err)
		}
		go func() {
			if err := c.Wait(); err != nil {
				failed(fmt.Errorf("open the browser: %s: %w", argv[0], err))
			}
		}()
		return nil
	}
	return ErrNone
}
