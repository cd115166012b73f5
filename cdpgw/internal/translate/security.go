package translate

import (
	"crypto/x509"
	"strings"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// securityDetails are the TLS facts as the protocol wants them.
func securityDetails(t *bus.TLSInfo) *cdp.SecurityDetails {
	d := &cdp.SecurityDetails{
		Protocol: t.Version, KeyExchangeGroup: t.Group, SANList: []string{},
		SignedCertificateTimestampList: []any{}, CertificateTransparencyCompliance: "unknown",
	}
	d.KeyExchange, d.Cipher, d.MAC = suite(t.Cipher)
	if len(t.Certificates) == 0 {
		d.SubjectName = cdp.Text(t.SNI)
		return d
	}
	cert, err := x509.ParseCertificate(t.Certificates[0])
	if err != nil {
		d.SubjectName = cdp.Text(t.SNI)
		return d
	}
	d.SubjectName, d.Issuer = cdp.Text(cert.Subject.CommonName), cdp.Text(cert.Issuer.CommonName)
	if d.Issuer == "" {
		d.Issuer = cdp.Text(cert.Issuer.String())
	}
	d.ValidFrom, d.ValidTo = float64(cert.NotBefore.Unix()), float64(cert.NotAfter.Unix())
	for _, n := range cert.DNSNames {
		d.SANList = append(d.SANList, cdp.Text(n))
	}
	for _, ip := range cert.IPAddresses {
		d.SANList = append(d.SANList, ip.String())
	}
	return d
}

// suite splits the IANA name of a cipher suite into key exchange, cipher and
// MAC, as Chrome shows them: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is
// ECDHE_RSA, AES_128_GCM and no MAC of its own.
func suite(name string) (exchange, cipher, mac string) {
	rest := strings.TrimPrefix(name, "TLS_")
	if before, after, ok := strings.Cut(rest, "_WITH_"); ok {
		exchange, rest = before, after
	}
	i := strings.LastIndexByte(rest, '_')
	if i < 0 || (!strings.HasPrefix(rest[i+1:], "SHA") && rest[i+1:] != "MD5") {
		return exchange, rest, "" // TLS_AES_128_CCM_8 and the like
	}
	cipher, mac = rest[:i], rest[i+1:]
	for _, aead := range []string{"GCM", "CCM", "CCM_8", "POLY1305"} {
		if strings.HasSuffix(cipher, aead) {
			return exchange, cipher, "" // the hash is that of the key derivation
		}
	}
	return exchange, cipher, mac
}
