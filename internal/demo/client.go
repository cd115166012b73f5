package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
)

// Run makes the client's requests over HTTP/1.1, then over HTTP/2, and prints a
// line for each on out.
func Run(ctx context.Context, url string, ca []byte, out io.Writer) error {
	for _, h2 := range []bool{false, true} {
		if err := run(ctx, url, ca, h2, out); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, url string, ca []byte, h2 bool, out io.Writer) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("no certificate in the demo's CA")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: protocols,
	}}
	defer client.CloseIdleConnections()
	for _, q := range []struct{ method, path, mime, body string }{
		{"GET", "/users.json?page=1", "", ""},
		{"GET", "/picture.png", "", ""},
		{"POST", "/orders", "application/json", `{"item":"paper clips","count":100}`},
		{"POST", "/orders", "application/x-www-form-urlencoded", "item=paper+clips&count=100"},
		{"GET", "/old", "", ""},
		{"GET", "/missing", "", ""},
		{"GET", "/page", "", ""},
		{"GET", "/slow", "", ""},
	} {
		req, err := http.NewRequestWithContext(ctx, q.method, url+q.path, bytes.NewBufferString(q.body))
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "clipper-demo/1.0")
		if q.mime != "" {
			req.Header.Set("Content-Type", q.mime)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("%s %s: %w", q.method, q.path, err)
		}
		fmt.Fprintf(out, "%s %s %s: %d bytes\n", q.method, q.path, resp.Status, n)
	}
	return nil
}
