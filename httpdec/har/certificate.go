package har

import (
	"crypto/x509"
	"time"
)

// Limits on the certificates that are remembered, since the exchanges of a server
// all have the same.
const (
	maxCertificates = 256
	maxCertificate  = 8 << 10 // bytes
)

// certificates are what is known of certificates, by their DER. The zero value is empty.
type certificates map[string]certificate

// parse reads a certificate; of one that can't be read, nothing is known.
func (m *certificates) parse(der []byte) certificate {
	if c, ok := (*m)[string(der)]; ok {
		return c
	}
	var h certificate
	if c, err := x509.ParseCertificate(der); err == nil {
		h = certificate{c.Subject.String(), c.Issuer.String(), c.DNSNames,
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)}
	}
	if len(der) <= maxCertificate {
		if *m == nil || len(*m) >= maxCertificates {
			*m = certificates{}
		}
		(*m)[string(der)] = h
	}
	return h
}
