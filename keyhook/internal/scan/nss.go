package scan

import (
	"bytes"
	"debug/elf"
)

// Arguments by number of tls13_DeriveSecretWrap(socket, key, prefix, suffix,
// label, dest) and ssl3_RecordKeyLog(socket, label, key).
const (
	nssDeriveLabel = 5
	nssRecordLabel = 2
)

// findNSS finds libssl3 by its API, and in it ssl3_RecordKeyLog(socket, label,
// PK11SymKey), which every secret is handed to whether NSS was built to write
// SSLKEYLOGFILE or not: in a build that was not (Debian's) it is empty.
//
// It is what gets CLIENT_RANDOM as its label, and what is called by the function
// that gets the labels of TLS 1.3.
func findNSS(f *file, m isa, res *Result) {
	syms := f.lookup(elf.SHT_DYNSYM, []string{"SSL_ImportFD", "SSL_ExportKeyingMaterial"})
	if syms["SSL_ImportFD"].addr == 0 {
		return
	}
	res.Library = "nss"
	if f.contains(SSLKeyLogFile) {
		res.Mechanism, res.Covered = SSLKeyLogFile, true
		res.Reason = "This NSS writes its secrets to SSLKEYLOGFILE by itself; the function that gets them was not found."
	} else {
		res.Reason = "This NSS was built without SSLKEYLOGFILE, and the function that its secrets are handed to was not found."
		res.Help = "An NSS that was built with NSS_ALLOW_SSLKEYLOGFILE=1 writes its secrets itself."
	}
	export := syms["SSL_ExportKeyingMaterial"]
	off, ok := m.copiedRandom(f.at(export.addr, min(export.size, maxFunction)))
	extract, data := f.imported("PK11_ExtractKeyValue"), f.imported("PK11_GetKeyData")
	if !ok || extract == 0 || data == 0 {
		return
	}
	labels := labelAddrs(f)
	derive := mostLabels(f, m, nssDeriveLabel, labels)
	record := onlyReceiver(f, m, nssRecordLabel, labels, "CLIENT_RANDOM")
	if derive == 0 || record == 0 || !m.calls(f.at(derive, maxFunction), derive, record) {
		return
	}
	const slot = 16 // functions are aligned; more is not known to belong to it
	res.Mechanism, res.Reason, res.Help, res.Covered = "labels", "", "", false
	res.Sites = []Site{{Kind: NSSKeyLog, Name: "ssl3_RecordKeyLog", Addr: record, Text: bytes.Clone(f.at(record, slot)),
		RandomOff: off, Imports: [2]uint64{extract, data}}}
}

// onlyReceiver is the one function that gets a label as its argument; 0 if
// there is none or more.
func onlyReceiver(f *file, m isa, arg int, addrs map[uint64]string, label string) (fn uint64) {
	n := 0
	eachLabelCall(f, m, arg, addrs, func(l string, to uint64) {
		if l == label && to != fn {
			fn = to
			n++
		}
	})
	if n != 1 || !f.executable(fn) {
		return 0
	}
	return fn
}

// imported is the link-time address of the pointer by which a library calls a
// function of another (R_*_JUMP_SLOT, R_*_GLOB_DAT); 0 if it does not.
func (f *file) imported(name string) uint64 {
	const symSize, relaSize = 24, 24
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != uint32(elf.SHT_RELA) || uint64(s.link) >= uint64(len(f.sections)) {
			continue
		}
		symtab := &f.sections[s.link]
		if symtab.kind != uint32(elf.SHT_DYNSYM) || uint64(symtab.link) >= uint64(len(f.sections)) {
			continue
		}
		str, syms := f.data(&f.sections[symtab.link]), f.data(symtab)
		for b := f.data(s); len(b) >= relaSize; b = b[relaSize:] {
			sym := le.Uint64(b[8:]) >> 32
			if le.Uint64(b[16:]) != 0 || sym == 0 || sym >= uint64(len(syms)/symSize) {
				continue
			}
			at := uint64(le.Uint32(syms[sym*symSize:]))
			if at < uint64(len(str)) && bytes.HasPrefix(str[at:], []byte(name+"\x00")) {
				return le.Uint64(b)
			}
		}
	}
	return 0
}
