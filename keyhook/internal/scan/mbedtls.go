package scan

import (
	"bytes"
	"debug/elf"
)

// findMbedTLS finds mbed TLS 2.17 to 2.28 by its API. Its configuration has a
// callback for the secrets of TLS 1.2; where the program has none of its own,
// ours is put in when a connection is set up with the configuration.
func findMbedTLS(f *file, m isa, res *Result) {
	const setup, ext, old = "mbedtls_ssl_setup", "mbedtls_ssl_conf_export_keys_ext_cb", "mbedtls_ssl_conf_export_keys_cb"
	for _, kind := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		syms := f.lookup(kind, []string{setup, ext, old})
		at := syms[setup]
		if at.addr == 0 {
			continue
		}
		res.Library = "mbedtls"
		extOff, ok1 := m.storedOffset(f.at(syms[ext].addr, 16))
		oldOff, ok2 := m.storedOffset(f.at(syms[old].addr, 16))
		if !ok1 || !ok2 {
			res.Reason = "This mbed TLS has no key export callback for all connections of a configuration (2.17 to 2.28 have one)."
			res.Help = "The program can export its secrets by mbedtls_ssl_set_export_keys_cb."
			return
		}
		res.Mechanism = "symbols"
		res.Sites = []Site{{Kind: MbedTLSSetup, Name: setup, Addr: at.addr, Text: bytes.Clone(f.at(at.addr, min(max(at.size, 16), 1<<16))),
			CtxOff: extOff, CallbackOff: oldOff}}
		return
	}
}
