// Goclient is an ordinary Go program that speaks HTTPS, as a test subject. It
// sends -n requests over -c connections, with -size a download beside them, and
// fails when one of them does.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"
)

func main() {
	ca := flag.String("ca", "", "PEM file of the certificate authority")
	n := flag.Int("n", 4, "requests")
	c := flag.Int("c", 1, "connections, each with its own client")
	h2 := flag.Bool("h2", false, "HTTP/2")
	h3 := flag.Bool("h3", false, "HTTP/3")
	old := flag.Bool("tls12", false, "TLS 1.2 at most")
	post := flag.Int("post", 0, "bytes of request body; 0 sends GET")
	size := flag.Int("size", 0, "bytes of a download by the first client, beside its requests: over the same connection with HTTP/2")
	label := flag.String("label", "x", "what makes the URLs different")
	flag.Parse()
	if err := run(flag.Arg(0), *ca, *n, *c, *h2, *h3, *old, *post, *size, *label); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

func run(url, ca string, n, c int, h2, h3, old bool, post, size int, label string) error {
	pool := x509.NewCertPool()
	if ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		pool.AppendCertsFromPEM(b)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, c+1)
	start := time.Now()
	for i := range c {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		conf := &tls.Config{RootCAs: pool}
		if old {
			conf.MaxVersion = tls.VersionTLS12
		}
		var transport http.RoundTripper = &http.Transport{TLSClientConfig: conf, Protocols: protocols}
		if h3 {
			t := &http3.Transport{TLSClientConfig: conf}
			defer t.Close()
			transport = t
		}
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		if i == 0 && size > 0 {
			wg.Go(func() { errs[c] = one(client, fmt.Sprintf("%s/size/%d", url, size), 0) })
		}
		wg.Go(func() {
			for k := next.Add(1); k <= int64(n) && errs[i] == nil; k = next.Add(1) {
				errs[i] = one(client, fmt.Sprintf("%s/json/%s/%d", url, label, k), post)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	d := time.Since(start)
	fmt.Printf("%d requests in %.3f s: %.0f requests/s\n", n, d.Seconds(), float64(n)/d.Seconds())
	return nil
}

func one(client *http.Client, url string, post int) error {
	method, body := "GET", []byte(nil)
	if post > 0 {
		method, body = "POST", bytes.Repeat([]byte("p"), post)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
