// Package payload holds the machine code that runs inside the app and
// generates the stubs around it. In flow addresses and the text of the
// functions to hook, out flow the bytes to write. Code for both architectures
// is generated on either, so that both can be tested on either; the blob is
// that of the architecture of this program.
package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Operations of the blob.
const (
	OpEmit         = 1  // a Go function (c, label string, clientRandom, secret []byte)
	OpSSLNew       = 2  // SSL_new(ctx)
	OpSetSSLCtx    = 3  // SSL_set_SSL_CTX(ssl, ctx)
	OpSetCallback  = 4  // SSL_CTX_set_keylog_callback(ctx, cb)
	OpCallback     = 5  // our keylog callback (ssl, line)
	OpRustlsLog    = 6  // rustls KeyLog::log(self, label, clientRandom, secret)
	OpSSLLogSecret = 7  // ssl_log_secret(ssl, ...)
	OpGnuTLS       = 8  // _gnutls_call_keylog_func(session, label, secret, size)
	OpNSS          = 9  // ssl3_RecordKeyLog(socket, label, PK11SymKey)
	OpMbedSetup    = 10 // mbedtls_ssl_setup(ssl, conf)
	OpMbedKeys     = 11 // our mbedtls_ssl_export_keys_ext_t
)

// Offsets in the parameter block. A table of TableEntries pairs {SSL_CTX, the
// app's own callback} follows at TableAt where the operations need one.
const (
	ParamRing     = 0
	ParamGet      = 8  // SSL_CTX_get_keylog_callback; OpNSS: pointer to PK11_ExtractKeyValue; OpMbedKeys: LabelMaster
	ParamSet      = 16 // SSL_CTX_set_keylog_callback behind our hook; OpNSS: pointer to PK11_GetKeyData
	ParamGetCtx   = 24 // SSL_get_SSL_CTX; 0: by the offsets
	ParamCallback = 32 // ours
	ParamCtxOff   = 40 // offset of ssl->ctx; OpGnuTLS, OpNSS: of the client random; OpMbedSetup: of conf->f_export_keys_ext
	ParamCBOff    = 48 // offset of ctx->keylog_callback; OpMbedSetup: of conf->f_export_keys
	ParamImage    = 56 // u32
	ParamFlags    = 60 // u32
	ParamSize     = 64
	TableAt       = 256
	TableEntries  = 64
	StateSize     = 4096 // parameter block and table
	FlagAskIDs    = 1    // getpid and gettid may be called
	FlagNoChain   = 2    // the app's own callbacks could not be called: leave them in place
)

// LabelMaster is the label of a TLS 1.2 master secret.
const LabelMaster = "CLIENT_RANDOM"

// Errors of the generators. In each case the function is not to be hooked.
var (
	ErrReach    = errors.New("target is out of a branch's reach")
	ErrDisplace = errors.New("instructions cannot be moved")
)

func blobAddr() unsafe.Pointer

// endMarker follows the blob in the text.
var endMarker = []byte("KEYHOOK!")

// Blob returns a copy of the payload's machine code.
func Blob() []byte {
	text := unsafe.Slice((*byte)(blobAddr()), 4096)
	return bytes.Clone(text[:bytes.Index(text, endMarker)])
}

// Arch generates the code around the blob for one architecture.
type Arch interface {
	// Body appends: save all registers, set parameter block and operation,
	// call the blob, restore all.
	Body(c *Code, op uint32, param, blob uint64) error
	// Branch appends a jump.
	Branch(c *Code, to uint64) error
	// Return appends the return from a function.
	Return(c *Code)
	// ReturnTrue appends a function body that returns true.
	ReturnTrue(c *Code)
	// Getter appends a C function that returns the word at its argument + off.
	Getter(c *Code, off uint32)
	// Displaced appends the instructions at addr that a jump will overwrite,
	// adapted to their new place, and a jump behind them. It returns how many
	// bytes they are. text is the function from addr on; a branch in it into
	// the overwritten bytes is an error.
	Displaced(c *Code, addr uint64, text []byte) (int, error)
	// Jump is the patch from addr to stub.
	Jump(addr, stub uint64) ([]byte, error)
	// Gate appends a borrowed system call and the way back.
	Gate(c *Code, g Gate)
	// Load appends the mappings of l, which go on at ask, a Gate's second
	// instruction. It reports false if the architecture has none.
	Load(c *Code, l Load, ask uint64) bool
	// Entry is the length of the landing pad at text that has to stay in place.
	Entry(text []byte) int
}

// Code is a growing code page at a known address.
type Code struct {
	Base  uint64
	Bytes []byte
}

// Here is the address of the next byte.
func (c *Code) Here() uint64 { return c.Base + uint64(len(c.Bytes)) }

// Append appends bytes.
func (c *Code) Append(b ...byte) { c.Bytes = append(c.Bytes, b...) }

func (c *Code) u32(v uint32) { c.Bytes = binary.LittleEndian.AppendUint32(c.Bytes, v) }
func (c *Code) u64(v uint64) { c.Bytes = binary.LittleEndian.AppendUint64(c.Bytes, v) }

// Align pads to a multiple of n.
func (c *Code) Align(n int) {
	for len(c.Bytes)%n != 0 {
		c.Append(0xcc)
	}
}

func reach(from, to uint64) error {
	return fmt.Errorf("%w: from %#x to %#x", ErrReach, from, to)
}
