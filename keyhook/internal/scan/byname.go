package scan

import (
	"debug/elf"
	"strings"
)

// findKnown names the TLS libraries that are known and not hooked, by the name
// of the shared object or one of their functions.
func findKnown(f *file, _ isa, res *Result) {
	for _, l := range known {
		if strings.HasPrefix(res.SharedName, l.object) || f.defines(l.function) {
			res.Library, res.Reason, res.Help = l.library, l.reason, l.help
			return
		}
	}
	// Erlang's emulator, by the name of its dump.
	if res.SharedName == "" && f.contains("erl_crash.dump") {
		res.Library, res.Reason, res.Help = "erlang", "Erlang's TLS is written in Erlang: there is nothing to hook.",
			"With the option {keep_secrets, true}, ssl:connection_information(Socket, [keylog]) gives the secrets."
	}
}

var known = []struct{ object, function, library, reason, help string }{
	{"libwolfssl.so", "wolfSSL_new", "wolfssl", "wolfSSL has no key log in this build, and no place to hook is known in it.",
		"A wolfSSL that was built with --enable-keylog-export writes its secrets to a file."},
	{"libs2n.so", "s2n_connection_new", "s2n", "No place to hook is known in s2n-tls.",
		"The program can log its secrets by s2n_config_set_key_log_cb."},
	{"libtls.so", "tls_config_new", "libressl", "LibreSSL has no key log callback.", "A build with OpenSSL can be read."},
}

// defines reports whether a symbol table has the function.
func (f *file) defines(function string) bool {
	for _, kind := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		if f.lookup(kind, []string{function})[function].addr != 0 {
			return true
		}
	}
	return false
}
