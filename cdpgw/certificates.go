package cdpgw

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"

	"clipper/cdpgw/internal/cdp"
)

// certificatesPage is the chain of an origin as text, leaf first: what it says,
// and the certificates themselves, as openssl reads them.
func (g *Gateway) certificatesPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	g.mu.Lock()
	chain := g.translate.Certificates(r.URL.Query().Get("origin"))
	g.mu.Unlock()
	if len(chain) == 0 {
		http.Error(w, "no certificate of this server was seen: its connections resumed sessions that began earlier, or are older than what is remembered", http.StatusNotFound)
		return
	}
	for i, der := range chain {
		fmt.Fprintf(w, "Certificate %d of %d\n\n", i+1, len(chain))
		describeCertificate(w, der)
		fmt.Fprintln(w)
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		fmt.Fprintln(w)
	}
}

func describeCertificate(w io.Writer, der []byte) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-14s%s\n", name, cdp.Text(value))
		}
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		line("problem", err.Error())
		return
	}
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	line("subject", c.Subject.String())
	line("issuer", c.Issuer.String())
	line("names", strings.Join(append(names, c.EmailAddresses...), ", "))
	line("valid from", c.NotBefore.UTC().Format("2006-01-02 15:04:05 UTC"))
	line("valid to", c.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"))
	line("serial", fmt.Sprintf("%x", c.SerialNumber))
	key := c.PublicKeyAlgorithm.String()
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		key += fmt.Sprintf(" %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		key += " " + k.Curve.Params().Name
	}
	line("key", key)
	line("signature", c.SignatureAlgorithm.String())
	if c.IsCA {
		line("authority", "yes")
	}
	line("SHA-256", fmt.Sprintf("%x", sha256.Sum256(der)))
}
