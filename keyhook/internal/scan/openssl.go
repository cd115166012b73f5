package scan

import (
	"bytes"
	"debug/elf"
)

// OpenSSL's functions that a hook uses or stands at. SSL_new and
// SSL_set_SSL_CTX are where a context meets a connection.
const (
	SSLNew         = "SSL_new"
	SSLSetCtx      = "SSL_set_SSL_CTX"
	SSLSetCallback = "SSL_CTX_set_keylog_callback"
	SSLGetCallback = "SSL_CTX_get_keylog_callback"
	SSLGetCtx      = "SSL_get_SSL_CTX"
)

var sslNames = []string{SSLNew, SSLSetCtx, SSLSetCallback, SSLGetCallback, SSLGetCtx}

// findOpenSSL looks the public API up, in the dynamic symbols and, for
// programs that were linked statically and not stripped, in all symbols.
func findOpenSSL(f *file, m isa, res *Result) {
	for _, kind := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		syms := f.lookup(kind, sslNames)
		if syms[SSLNew].addr == 0 {
			continue
		}
		hookOpenSSL(f, m, res, syms)
		return
	}
}

func hookOpenSSL(f *file, m isa, res *Result, syms map[string]symbol) {
	res.Library, res.Mechanism = "openssl", "symbols"
	if f.isBoringSSL() {
		res.Library = "boringssl"
	}
	if syms[SSLSetCallback].addr == 0 {
		res.Reason, res.Help = "This OpenSSL (older than 1.1.1, or LibreSSL) has no key log callback.", "A build with OpenSSL 1.1.1 or later can be read."
		return
	}
	res.API = map[string]uint64{}
	for name, s := range syms {
		res.API[name] = s.addr
	}
	if res.API[SSLGetCallback] == 0 {
		off, ok := m.setterOffset(f.at(syms[SSLSetCallback].addr, 16))
		if !ok {
			res.Reason = "The program was linked without SSL_CTX_get_keylog_callback, and the setter does not show where the callback is."
			return
		}
		res.CallbackOff = off
	}
	for _, name := range []string{SSLNew, SSLSetCtx, SSLSetCallback} {
		if s := syms[name]; s.addr != 0 {
			text := f.at(s.addr, min(max(s.size, 16), 1<<16))
			if len(text) < 8 {
				res.Sites, res.Reason = nil, "The symbol "+name+" points to no code."
				return
			}
			res.Sites = append(res.Sites, Site{Kind: OpenSSL, Name: name, Addr: s.addr, Text: bytes.Clone(text)})
		}
	}
}

// isBoringSSL tells BoringSSL and its descendants from OpenSSL by the names of their
// symbols: it is written in C++.
func (f *file) isBoringSSL() bool {
	for i := range f.sections {
		if s := &f.sections[i]; s.kind == uint32(elf.SHT_STRTAB) && s.flags&uint64(elf.SHF_ALLOC) == 0 || s.name == ".dynstr" {
			if b := f.data(s); bytes.Contains(b, []byte("\x00_ZN4bssl")) || bytes.Contains(b, []byte("\x00SSL_CIPHER_get_kx_name\x00")) {
				return true
			}
		}
	}
	return false
}

type symbol struct{ addr, size uint64 }

// lookup finds defined functions by name without building the whole table. A
// file without the first has none of them.
func (f *file) lookup(kind elf.SectionType, names []string) map[string]symbol {
	const symSize = 24
	found := map[string]symbol{}
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != uint32(kind) || uint64(s.link) >= uint64(len(f.sections)) {
			continue
		}
		str := f.data(&f.sections[s.link])
		want := map[uint32]string{}
		for _, n := range names {
			i := bytes.Index(str, []byte("\x00"+n+"\x00"))
			if i < 0 && n == names[0] {
				break
			}
			if i >= 0 {
				want[uint32(i+1)] = n
			}
		}
		if len(want) == 0 {
			continue
		}
		for b := f.data(s); len(b) >= symSize; b = b[symSize:] {
			n, ok := want[le.Uint32(b)]
			if ok && elf.ST_TYPE(b[4]) == elf.STT_FUNC && le.Uint16(b[6:]) != uint16(elf.SHN_UNDEF) {
				found[n] = symbol{le.Uint64(b[8:]), le.Uint64(b[16:])}
			}
		}
	}
	return found
}
