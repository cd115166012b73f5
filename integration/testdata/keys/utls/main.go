// Fetches a URL twice, the second time in the first one's session.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"

	tls "github.com/refraction-networking/utls"
)

func main() {
	u, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := 0; i < 2; i++ {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			log.Fatal(err)
		}
		// Go's own hello: what it looks like is no matter here, and a browser's offers h2.
		c := tls.UClient(conn, config, tls.HelloGolang)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.Path, u.Host)
		if _, err := io.Copy(io.Discard, c); err != nil {
			log.Fatal(err)
		}
		c.Close()
	}
}
