package tlsdec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// ja4 is the JA4 fingerprint of a ClientHello (FoxIO, JA4 technical details);
// transport is 't' or 'q'.
func ja4(h *clientHello, transport byte) string {
	version := h.version
	for i, v := range slices.DeleteFunc(slices.Clone(h.versions), grease) {
		if i == 0 || v > version {
			version = v
		}
	}
	code := "00"
	switch {
	case version == versionSSL2:
		code = "s2"
	case version == versionSSL3:
		code = "s3"
	case version >= versionTLS10 && version <= versionTLS13:
		code = fmt.Sprintf("1%d", version-versionTLS10)
	}
	name := byte('i')
	if h.hasServerName {
		name = 'd'
	}
	suites := hexes(h.suites)
	extensions := hexes(h.extensions)
	count := len(extensions)
	slices.Sort(suites)
	extensions = slices.DeleteFunc(extensions, func(x string) bool { return x == "0000" || x == "0010" })
	slices.Sort(extensions)
	tail := strings.Join(extensions, ",")
	if len(h.signatures) > 0 {
		tail += "_" + strings.Join(hexes(h.signatures), ",")
	}
	return fmt.Sprintf("%c%s%c%02d%02d%s_%s_%s", transport, code, name, min(len(suites), 99), min(count, 99), ja4ALPN(h.alpn),
		ja4Hash(strings.Join(suites, ",")), ja4Hash(tail))
}

// ja4ALPN is the first and the last character of the first protocol, or of its hex
// form if one of them is not alphanumeric.
func ja4ALPN(protocols []string) string {
	if len(protocols) == 0 || protocols[0] == "" {
		return "00"
	}
	p := protocols[0]
	alnum := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	if !alnum(p[0]) || !alnum(p[len(p)-1]) {
		p = hex.EncodeToString([]byte(p))
	}
	return string([]byte{p[0], p[len(p)-1]})
}

func ja4Hash(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:12]
}

// hexes are four-digit forms without GREASE.
func hexes(values []uint16) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		if !grease(v) {
			out = append(out, fmt.Sprintf("%04x", v))
		}
	}
	return out
}
