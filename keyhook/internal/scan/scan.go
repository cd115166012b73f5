// Package scan finds, in an ELF file, where TLS secrets pass by. In flows a
// file, hostile or not; out flow the places to hook, or a sentence why there
// are none.
package scan

import (
	"debug/elf"
	"errors"
	"fmt"
	"runtime/debug"
)

// Kind of a hook.
type Kind uint8

// Kinds.
const (
	GoWriteKeyLog Kind = 1 + iota // crypto/tls.(*Config).writeKeyLog, behind its stack check
	OpenSSL                       // a function of the public API
	SSLLogSecret                  // ssl_log_secret of BoringSSL and OpenSSL, by the labels it gets
	RustlsKeyLog                  // the vtable of rustls' NoKeyLog, or of its KeyLogFile
	GnuTLSKeyLog                  // GnuTLS' internal _gnutls_call_keylog_func, by the labels it gets
	NSSKeyLog                     // NSS' internal ssl3_RecordKeyLog, by the labels it gets
	MbedTLSSetup                  // mbedtls_ssl_setup, where ours becomes the key export
)

// Site is one place to hook.
type Site struct {
	Kind Kind
	Name string
	Addr uint64 // link-time virtual address
	Text []byte // from there to the function's end, as far as that is known

	CtxOff, CallbackOff uint64    // SSLLogSecret: of ssl->ctx and ctx->keylog_callback; MbedTLSSetup: of conf->f_export_keys_ext and f_export_keys
	RandomOff           uint64    // GnuTLSKeyLog, NSSKeyLog: of the session's client random
	Imports             [2]uint64 // NSSKeyLog: of the pointers to PK11_ExtractKeyValue and PK11_GetKeyData
	Slots               []Slot    // RustlsKeyLog: log, and will_log of the empty key log
}

// Slot is a code pointer in the image.
type Slot struct {
	Value  uint64 // link-time target
	At     uint64 // link-time address where to write: a RELA addend or the word itself
	Rebase bool   // what is written is relocated later: write a link-time address
}

// Load is a PT_LOAD segment.
type Load struct {
	Off, Addr, FileSize, MemSize uint64
	Exec                         bool
}

// Result is what is known of a file.
type Result struct {
	Sites []Site
	// Library is the TLS library in the file: "openssl", "boringssl", "go",
	// "rustls", "gnutls", ...; "" where none was found.
	Library string
	// Mechanism says how the sites were found, or what else is used.
	Mechanism string
	// Reason is a sentence why nothing is hooked although there is a library.
	Reason string
	// Help is a sentence what would make the library's connections readable; "" if
	// that is not known.
	Help string
	// Covered: no hook is needed, because of Reason.
	Covered bool

	API         map[string]uint64 // OpenSSL's functions
	CallbackOff uint64            // ctx->keylog_callback, where a linker dropped the getter

	Loads      []Load
	Relocated  bool // position independent
	HeaderOff  uint64
	Foreign    bool // no program of this machine's 64-bit ABI
	SharedName string
}

// Hookable reports whether there is anything to hook.
func (r *Result) Hookable() bool { return r != nil && len(r.Sites) > 0 }

// SSLKeyLogFile is the environment variable, and the mechanism by it.
const SSLKeyLogFile = "SSLKEYLOGFILE"

// Machine is the architecture whose programs File accepts.
type Machine = elf.Machine

// File analyses an ELF file in memory, which may be a mapping that goes away:
// that is an error. The result does not alias it. What is no ELF file gives an
// error that IsNotELF knows, a damaged one another, and both an empty result.
func File(b []byte, machine Machine) (res *Result, err error) {
	res = &Result{}
	// The readers check what they read. Should one of them fail at it, a
	// hostile file must still not end the supervisor.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			res, err = &Result{}, fmt.Errorf("scan: %v", p)
		}
	}()
	f, err := open(b)
	if err != nil {
		return res, err
	}
	if f.class != byte(elf.ELFCLASS64) || f.machine != machine {
		res.Foreign = true
		return res, nil
	}
	isa, ok := isas[machine]
	if !ok {
		res.Foreign = true
		return res, nil
	}
	res.Relocated, res.HeaderOff = f.kind == elf.ET_DYN, f.phoff
	res.Loads = f.loads()
	res.SharedName = f.soname()
	for _, find := range finders {
		if find(f, isa, res); res.Library != "" {
			return res, nil
		}
	}
	return res, nil
}

func (f *file) loads() (l []Load) {
	for _, s := range f.segments {
		if s.kind == uint32(elf.PT_LOAD) {
			l = append(l, Load{Off: s.off, Addr: s.addr, FileSize: s.filesz, MemSize: s.memsz, Exec: s.flags&uint32(elf.PF_X) != 0})
		}
	}
	return l
}

// Loads are the PT_LOAD segments of an ELF file of which only the beginning is
// there; none if its headers are not in it.
func Loads(head []byte) []Load {
	f, err := open(head)
	if err != nil {
		return nil
	}
	return f.loads()
}

// IsNotELF reports whether File's error says so.
func IsNotELF(err error) bool { return errors.Is(err, errNotELF) }

// finder looks for one library. It sets Result.Library once it is sure of the
// library, and Sites or Reason with it.
type finder func(f *file, m isa, res *Result)

var finders = []finder{findGo, findOpenSSL, findGnuTLS, findNSS, findMbedTLS, findRustls, findLabels, findKnown}

// Stateful reports whether the hooks remember the program's own callbacks.
func (r *Result) Stateful() bool {
	return r.Hookable() && (r.Sites[0].Kind == OpenSSL || r.Sites[0].Kind == SSLLogSecret)
}
