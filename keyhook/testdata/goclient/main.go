// Goclient fetches URL n times, each time over a new connection, in some
// threads. With a fourth argument it fetches it once more before all, and then
// waits for a line of standard input.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func main() {
	if len(os.Args) < 2 {
		return
	}
	n, threads := 1, 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		threads, _ = strconv.Atoi(os.Args[3])
	}
	if len(os.Args) > 4 {
		get(os.Args[1])
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for range n {
				get(os.Args[1])
			}
		})
	}
	wg.Wait()
	fmt.Println("done")
}

func get(url string) {
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := c.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c.CloseIdleConnections()
}
