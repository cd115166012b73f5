// Fetches a URL twice, the second time in the first one's session.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
)

func main() {
	u, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := 0; i < 2; i++ {
		c, err := tls.Dial("tcp", u.Host, config)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.Path, u.Host)
		if _, err := io.Copy(io.Discard, c); err != nil {
			log.Fatal(err)
		}
		c.Close()
	}
}
