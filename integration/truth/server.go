// Package truth is an HTTPS server that writes down exactly what it received
// and sent, for comparison with what Clipper says.
package truth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Exchange is one request and its response as the server saw them.
type Exchange struct {
	Method, URL, Proto string // URL is absolute
	Status             int
	RequestHeaders     []string // "name: value", names in lower case, sorted
	ResponseHeaders    []string
	RequestBody        string // sha256, hex
	ResponseBody       string
	Resumed            bool // the TLS session
}

// Options of a Server.
type Options struct {
	Plain      bool   // no TLS
	MinVersion uint16 // of TLS
	MaxVersion uint16
	KeyLog     io.Writer
	Close      bool   // the connection after each response
	Addr       string // default 127.0.0.1:0
	HTTP3      bool   // too, on the UDP port of the same number
}

// Server is a running server.
type Server struct {
	URL   string // https://localhost:PORT
	Port  int
	CA    []byte // PEM
	srv   *http.Server
	h3    *http3.Server // nil: none
	close bool
	mu    sync.Mutex
	log   []Exchange
}

// Hash is the sha256 of b in hex.
func Hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Certificate makes a self-signed certificate for localhost.
func Certificate() (cert tls.Certificate, certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 0, 2, 2)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return cert, nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return cert, nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certPEM, keyPEM, nil
}

// Start listens and serves.
func Start(o Options) (*Server, error) {
	cert, ca, _, err := Certificate()
	if err != nil {
		return nil, err
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Port: l.Addr().(*net.TCPAddr).Port, CA: ca, close: o.Close}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.srv = &http.Server{
		Handler: s, Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: o.MinVersion, MaxVersion: o.MaxVersion, KeyLogWriter: o.KeyLog},
	}
	if o.Plain {
		s.URL = fmt.Sprintf("http://localhost:%d", s.Port)
		go s.srv.Serve(l)
	} else {
		s.URL = fmt.Sprintf("https://localhost:%d", s.Port)
		go s.srv.ServeTLS(l, "", "")
	}
	if !o.HTTP3 {
		return s, nil
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: l.Addr().(*net.TCPAddr).IP, Port: s.Port})
	if err != nil {
		s.srv.Close()
		return nil, err
	}
	s.h3 = &http3.Server{Handler: s, TLSConfig: s.srv.TLSConfig}
	go func() {
		defer udp.Close()
		s.h3.Serve(udp)
	}()
	return s, nil
}

// Close ends the server.
func (s *Server) Close() error {
	if s.h3 != nil {
		s.h3.Close()
	}
	return s.srv.Close()
}

// Log is what was exchanged so far, sorted by URL and method.
func (s *Server) Log() []Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := slices.Clone(s.log)
	Sort(l)
	return l
}

// Count is how many exchanges there were so far.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// Sort orders exchanges by URL, then method.
func Sort(l []Exchange) {
	slices.SortStableFunc(l, func(a, b Exchange) int {
		if c := strings.Compare(a.URL, b.URL); c != 0 {
			return c
		}
		return strings.Compare(a.Method, b.Method)
	})
}

// ServeHTTP answers: /size/N with N bytes, /status/N with that status, /slow/MS after
// MS milliseconds, anything else with an echo of the request body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	scheme := "https"
	if r.TLS == nil {
		scheme = "http"
	}
	x := Exchange{Method: r.Method, URL: scheme + "://" + r.Host + r.URL.RequestURI(), Proto: r.Proto, Status: 200,
		RequestHeaders: fields(r.Header, r.Host, r), RequestBody: Hash(body)}
	if r.TLS != nil {
		x.Resumed = r.TLS.DidResume
	}
	out, mime := body, "application/octet-stream"
	verb, arg, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n, _ := strconv.Atoi(arg)
	switch verb {
	case "size":
		out = bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
	case "status":
		x.Status, out, mime = n, fmt.Appendf(nil, "status %d\n", n), "text/plain; charset=utf-8"
	case "json":
		out, mime = fmt.Appendf(nil, `{"path":%q}`, r.URL.Path), "application/json"
	case "slow":
		time.Sleep(time.Duration(n) * time.Millisecond)
		out, mime = []byte("slow\n"), "text/plain; charset=utf-8"
	}
	h := w.Header() // all of it is set here, so that it is all that is sent
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Set("Content-Type", mime)
	h.Set("Content-Length", strconv.Itoa(len(out)))
	h.Add("X-Twice", "one")
	h.Add("X-Twice", "two")
	if (r.Close || s.close) && r.ProtoMajor == 1 {
		h.Set("Connection", "close") // net/http would add it on its own
	}
	x.ResponseHeaders, x.ResponseBody = fields(h, "", nil), Hash(out)
	if r.Method == http.MethodHead {
		x.ResponseBody = Hash(nil)
	}
	s.mu.Lock()
	s.log = append(s.log, x)
	s.mu.Unlock()
	w.WriteHeader(x.Status)
	w.Write(out)
}

// fields flattens h; what net/http keeps elsewhere is put back.
func fields(h http.Header, host string, r *http.Request) []string {
	var f []string
	for name, values := range h {
		for _, v := range values {
			f = append(f, strings.ToLower(name)+": "+v)
		}
	}
	if r != nil && r.ProtoMajor == 1 {
		f = append(f, "host: "+host)
	}
	if r != nil && r.ContentLength > 0 && h.Get("Content-Length") == "" {
		f = append(f, "content-length: "+strconv.FormatInt(r.ContentLength, 10))
	}
	if r != nil && len(r.TransferEncoding) > 0 {
		f = append(f, "transfer-encoding: "+strings.Join(r.TransferEncoding, ", "))
	}
	slices.Sort(f)
	return f
}

// WriteCA stores the certificate for a client's CA option.
func (s *Server) WriteCA(path string) error { return os.WriteFile(path, s.CA, 0o644) }
