package scan

import (
	"bytes"
	"debug/elf"
)

// findGnuTLS finds GnuTLS by its API, and in it the internal function
// (session, label, secret, size) that all of its secrets pass through, whether
// SSLKEYLOGFILE is set or not.
func findGnuTLS(f *file, m isa, res *Result) {
	syms := f.lookup(elf.SHT_DYNSYM, []string{"gnutls_init", "gnutls_session_get_random"})
	if syms["gnutls_init"].addr == 0 {
		return
	}
	res.Library, res.Mechanism, res.Covered = "gnutls", SSLKeyLogFile, true
	res.Reason = "GnuTLS writes its secrets to SSLKEYLOGFILE by itself; the function that gets them was not found."
	off, ok := m.addressOffset(f.at(syms["gnutls_session_get_random"].addr, 64))
	if !ok {
		return
	}
	fn := labelReceiver(f, m)
	if fn == 0 {
		return
	}
	res.Mechanism, res.Reason, res.Covered = "labels", "", false
	res.Sites = []Site{{Kind: GnuTLSKeyLog, Name: "_gnutls_call_keylog_func", Addr: fn, Text: bytes.Clone(f.at(fn, maxFunction)), RandomOff: off}}
}
