// Package demo is `clipper demo`: a small HTTPS server on the host's loopback
// and a client for it, so that a whole session can be seen without a network.
// The server knows nothing of Clipper; the client is run under it like any program.
package demo

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Server is a running demo server.
type Server struct {
	URL string // https://localhost:PORT
	CA  []byte // PEM of its self-signed certificate
	srv *http.Server
}

// Start listens on a random port of 127.0.0.1.
func Start() (*Server, error) {
	cert, ca, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("make the demo's certificate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the demo: %w", err)
	}
	srv := &http.Server{
		Handler:   Handler(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:  log.New(io.Discard, "", 0), // a client that goes away is no news here
	}
	go srv.ServeTLS(l, "", "")
	return &Server{URL: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port), CA: ca, srv: srv}, nil
}

// Close ends the server and its connections.
func (s *Server) Close() error { return s.srv.Close() }

func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"Clipper demo"}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca, nil
}

// Handler answers what the client asks for.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"protocol": r.Proto, "users": []map[string]any{
			{"id": 1, "name": "Ada", "languages": []string{"Analytical Engine"}},
			{"id": 2, "name": "Grace", "languages": []string{"FLOW-MATIC", "COBOL"}},
		}})
	})
	mux.HandleFunc("GET /picture.png", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		png.Encode(w, picture())
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/orders/1")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"received":%d}`+"\n", len(body))
	})
	mux.HandleFunc("GET /old", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/users.json", http.StatusFound)
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		fmt.Fprintf(z, "<!doctype html><title>Clipper demo</title><h1>Read off the wire</h1>%s",
			bytes.Repeat([]byte("<p>This page was sent with gzip, inside TLS, and nothing stood in between.</p>\n"), 40))
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for i := range 4 {
			fmt.Fprintf(w, "part %d\n", i+1)
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(200 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	return mux
}

func picture() image.Image {
	const size = 96
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			m.Set(x, y, color.RGBA{uint8(x * 255 / size), uint8(y * 255 / size), 160, 255})
		}
	}
	return m
}
