package scan

import (
	"bytes"
	"debug/elf"
	"strings"
)

// Every TLS library with a key log hands the labels of the NSS key log format
// to one function. In a stripped file that function is found as the one that
// is called right after the address of a label went into its second argument.

var keyLogLabels = []string{
	"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0",
	"CLIENT_EARLY_TRAFFIC_SECRET", "EARLY_EXPORTER_SECRET", "EXPORTER_SECRET", "CLIENT_RANDOM",
}

// minVotes is how many different labels a function must be seen to get. An
// OpenSSL shows three in all: the others come by way of a variable.
const minVotes = 3

// readOnly lists the loaded data that is no code, by sections; without section
// headers all that is loaded.
func (f *file) readOnly(each func(addr uint64, b []byte)) {
	sections := false
	for i := range f.sections {
		s := &f.sections[i]
		if s.flags&uint64(elf.SHF_ALLOC) == 0 || s.flags&uint64(elf.SHF_EXECINSTR) != 0 {
			continue
		}
		if b := f.data(s); b != nil {
			sections = true
			each(s.addr, b)
		}
	}
	if sections {
		return
	}
	for i := range f.segments {
		if s := &f.segments[i]; s.kind == uint32(elf.PT_LOAD) {
			if b, err := f.read(s.off, s.filesz); err == nil {
				each(s.addr, b)
			}
		}
	}
}

// labelAddrs finds the labels, NUL-terminated. A linker may have merged one
// into the tail of another.
func labelAddrs(f *file) map[uint64]string {
	const maxLabels = 256 // copies included
	addrs := map[uint64]string{}
	f.readOnly(func(addr uint64, b []byte) {
		// All labels but one share a word: two passes find all.
		for _, word := range []string{"_SECRET", "CLIENT_RANDOM"} {
			for o := 0; len(addrs) < maxLabels; {
				i := bytes.Index(b[o:], []byte(word))
				if i < 0 {
					break
				}
				o += i
				for _, l := range keyLogLabels {
					start := o - strings.LastIndex(l, word)
					if !strings.Contains(l, word) || start < 0 || !bytes.HasPrefix(b[start:], []byte(l)) {
						continue
					}
					if end := start + len(l); end < len(b) && b[end] == 0 {
						addrs[addr+uint64(start)] = l
					}
				}
				o += len(word)
			}
		}
	})
	return addrs
}

// labelReceiver is the function whose second argument is most labels.
func labelReceiver(f *file, m isa) uint64 { return mostLabels(f, m, 2, labelAddrs(f)) }

// eachLabelCall reports the calls that get a label as an argument, 1 being the
// first.
func eachLabelCall(f *file, m isa, arg int, addrs map[uint64]string, found func(label string, fn uint64)) {
	for i := range f.segments {
		s := &f.segments[i]
		if s.kind != uint32(elf.PT_LOAD) || s.flags&uint32(elf.PF_X) == 0 {
			continue
		}
		if text, err := f.read(s.off, s.filesz); err == nil {
			m.labelCalls(text, s.addr, f.kind == elf.ET_EXEC, arg, addrs, found)
		}
	}
}

// mostLabels is the function that gets most labels as an argument, 0 if none
// gets enough or two get equally many.
func mostLabels(f *file, m isa, arg int, addrs map[uint64]string) uint64 {
	if len(addrs) < minVotes {
		return 0
	}
	votes := map[uint64]map[string]bool{}
	eachLabelCall(f, m, arg, addrs, func(label string, fn uint64) {
		if votes[fn] == nil {
			votes[fn] = map[string]bool{}
		}
		votes[fn][label] = true
	})
	var best uint64
	most, tie := 0, false
	for fn, v := range votes {
		switch {
		case len(v) > most:
			best, most, tie = fn, len(v), false
		case len(v) == most:
			tie = true
		}
	}
	if most < minVotes || tie || !f.executable(best) {
		return 0
	}
	return best
}

// maxFunction bounds what is taken as a function's text where its end is not
// known.
const maxFunction = 512

// findLabels finds ssl_log_secret of a stripped BoringSSL or OpenSSL.
func findLabels(f *file, m isa, res *Result) {
	fn := labelReceiver(f, m)
	if fn == 0 {
		return
	}
	ctx, callback, ok := m.callbackOffsets(f, fn)
	if !ok {
		res.Library, res.Reason = "unknown", "A TLS library with a key log was found in the program, but not where its key log callback is kept."
		return
	}
	res.Library, res.Mechanism = "openssl", "labels"
	if f.contains("BoringSSL") || f.contains("boringssl") {
		res.Library = "boringssl"
	}
	text := f.at(fn, maxFunction)
	res.Sites = []Site{{Kind: SSLLogSecret, Name: "ssl_log_secret", Addr: fn, Text: bytes.Clone(text), CtxOff: ctx, CallbackOff: callback}}
}

// contains reports whether a string is in the loaded data.
func (f *file) contains(s string) (found bool) {
	f.readOnly(func(_ uint64, b []byte) { found = found || bytes.Contains(b, []byte(s)) })
	return found
}
