package scan

import "strings"

// byName names the TLS libraries that are known by their shared object's name
// and are not hooked.
func byName(res *Result, needed []string) {
	for _, l := range named {
		if strings.HasPrefix(res.SharedName, l.prefix) {
			res.Library, res.Mechanism, res.Reason, res.Covered = l.library, l.mechanism, l.reason, l.covered
			return
		}
	}
}

var named = []struct {
	prefix, library, mechanism, reason string
	covered                            bool
}{
	{"libwolfssl.so", "wolfssl", "", "No way into wolfSSL is known here; its key log exists only in special builds.", false},
	{"libs2n.so", "s2n", "", "No way into s2n-tls is known here.", false},
	{"libtls.so", "libressl", "", "LibreSSL has no key log callback.", false},
}
