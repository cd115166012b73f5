#include "textflag.h"

// The payload; see blob_amd64.s for what it is and does.
//
// Entered by BL from a generated stub (see a64.go) with
//	R19 = parameter block (offsets in payload.go)
//	R20 = operation
// and the app's registers x0 to x30 on the stack, xN at 8*N(RSP). All of them
// are free for use here; C functions keep R19 to R28.
TEXT ·blob(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R30, R21
	CMP  $1, R20
	BEQ  emit
	CMP  $2, R20
	BEQ  ensure
	CMP  $3, R20
	BEQ  ensuresi
	CMP  $4, R20
	BEQ  setcb
	CMP  $5, R20
	BEQ  cb
	CMP  $6, R20
	BEQ  rustlog
	CMP  $7, R20
	BEQ  boring
	CMP  $8, R20
	BEQ  gnutls
	CMP  $9, R20
	BEQ  nss
	CMP  $10, R20
	BEQ  mbed
	CMP  $11, R20
	BEQ  mbedkey
	JMP  (R21)

	// NSS' ssl3_RecordKeyLog(R0=socket, R1=label, R2=PK11SymKey)
nss:
	MOVD R0, R23
	MOVD R1, R24
	MOVD R2, R25
	MOVD R2, R0
	MOVD 8(R19), R9
	MOVD (R9), R9
	CALL (R9)          // PK11_ExtractKeyValue
	CBNZW R0, out
	MOVD R25, R0
	MOVD 16(R19), R9
	MOVD (R9), R9
	CALL (R9)          // PK11_GetKeyData: SECItem {type, data, len}
	CBZ  R0, out
	MOVD 8(R0), R6
	MOVWU 16(R0), R7
	MOVD R23, R0
	MOVD R24, R1
	MOVD $0, R2
	B    glen

	// mbedtls_ssl_setup(R0=ssl, R1=configuration)
mbed:
	CBZ  R1, out
	MOVD 40(R19), R9
	ADD  R9, R1, R9    // &conf->f_export_keys_ext
	MOVD 48(R19), R10
	ADD  R10, R1, R10  // &conf->f_export_keys
	MOVD (R9), R11
	MOVD (R10), R12
	ORR  R11, R12, R11
	CBNZ R11, out
	MOVD 32(R19), R11
	MOVD R11, (R9)
	JMP  (R21)

	// Our key export(R0=p, R1=master secret, .., R6=client random, ..)
mbedkey:
	MOVD ZR, 0(RSP)    // it returns 0
	MOVD R6, R3
	MOVD $32, R4
	MOVD R1, R6
	MOVD $48, R7
	MOVD 8(R19), R1    // "CLIENT_RANDOM"
	MOVD $13, R2
	B    emit

	// GnuTLS' (R0=session, R1=label, R2,R3 secret)
gnutls:
	MOVD R2, R6
	MOVD R3, R7
	MOVD $0, R2
glen:
	MOVBU (R1)(R2), R9
	CBZ  R9, glend
	ADD  $1, R2, R2
	CMP  $65, R2
	BLT  glen
glend:
	MOVD 40(R19), R9
	ADD  R9, R0, R3    // &session->client_random
	MOVD $32, R4
	B    emit

	// rustls KeyLog::log(R0=self, R1,R2 label, R3,R4 random, R5,R6 secret)
rustlog:
	MOVD R6, R7
	MOVD R5, R6
	B    emit

	// BoringSSL's ssl_log_secret(R0=ssl, ..)
boring:
	MOVD 40(R19), R9
	ADD  R9, R0, R9
	MOVD (R9), R23     // ssl->ctx
	CBZ  R23, out
	MOVD 48(R19), R9
	ADD  R9, R23, R26  // &ctx->keylog_callback
	MOVD (R26), R1
	MOVD 32(R19), R9
	CMP  R9, R1
	BEQ  out
	B    tabput
boringset:
	MOVD 32(R19), R9
	MOVD R9, (R26)
	JMP  (R21)

	// emit one record. Three spans: R1/R2, R3/R4, R6/R7.
emit:
	MOVD 0(R19), R22
	CMP  $232, R2
	BHI  drop
	CMP  $232, R4
	BHI  drop
	CMP  $232, R7
	BHI  drop
	ADD  R2, R4, R9
	ADD  R7, R9, R9
	CMP  $232, R9
	BHI  drop
	MOVD $0, R10       // pid<<32 | tid
	MOVWU 60(R19), R9
	TBZ  $0, R9, retries
	MOVD $178, R8      // gettid
	SVC
	MOVWU R0, R10
	MOVD $172, R8      // getpid
	SVC
	LSL  $32, R0, R0
	ORR  R0, R10, R10
retries:
	MOVD $4096, R13    // a corrupt ring must not hold us for ever
	ADD  $64, R22, R14 // &cursor
reserve:
	SUBS $1, R13, R13
	BEQ  drop
	LDAR (R14), R9
	AND  $16383, R9, R11
	SUB  R11, R9, R12  // base
	LSL  $8, R11, R11
	ADD  R22, R11, R11
	ADD  $4096, R11, R11
	LDAR (R11), R15
	CMP  R15, R12
	BLT  reserve       // taken meanwhile
	BNE  drop          // full
claim:
	LDAXR (R14), R15
	CMP  R9, R15
	BNE  reserve
	ADD  $1, R9, R16
	STLXR R16, (R14), R17
	CBNZ R17, claim
	MOVD R10, 8(R11)
	MOVWU 56(R19), R15
	MOVW R15, 16(R11)  // image
	MOVB R20, 20(R11)
	MOVB R2, 21(R11)
	MOVB R4, 22(R11)
	MOVB R7, 23(R11)
	ADD  $24, R11, R15
span1:
	CBZ  R2, span2
	MOVBU.P 1(R1), R16
	MOVB.P R16, 1(R15)
	SUB  $1, R2, R2
	B    span1
span2:
	CBZ  R4, span3
	MOVBU.P 1(R3), R16
	MOVB.P R16, 1(R15)
	SUB  $1, R4, R4
	B    span2
span3:
	CBZ  R7, publish
	MOVBU.P 1(R6), R16
	MOVB.P R16, 1(R15)
	SUB  $1, R7, R7
	B    span3
publish:
	LDAXR (R11), R15
	CMP  R12, R15
	BNE  drop          // the reader has given the slot up
	ADD  $1, R12, R16
	STLXR R16, (R11), R17
	CBNZ R17, publish
	ADD  $192, R22, R14
count:
	LDAXRW (R14), R15
	ADDW $1, R15, R15
	STLXRW R15, (R14), R17
	CBNZ R17, count
	DMB  $0xb
	MOVWU 196(R22), R15
	CBZ  R15, emitted
	MOVD $98, R8       // futex(&word, FUTEX_WAKE, 1)
	MOVD R14, R0
	MOVD $1, R1
	MOVD $1, R2
	SVC
emitted:
	CMP  $5, R20
	BEQ  cbemitted
out:
	JMP  (R21)
drop:
	ADD  $128, R22, R14
dropping:
	LDAXR (R14), R15
	ADD  $1, R15, R15
	STLXR R15, (R14), R17
	CBNZ R17, dropping
	B    emitted

	// Ensure that our keylog callback is set on the SSL_CTX in R0.
ensuresi:
	MOVD R1, R0
ensure:
	CBZ  R0, out
	MOVD R0, R23
	MOVD 8(R19), R9
	CALL (R9)
	MOVD 32(R19), R9
	CMP  R9, R0
	BEQ  out
	MOVD R0, R1
	B    tabput
ensureset:
	MOVD R23, R0
	MOVD 32(R19), R1
	MOVD 16(R19), R9
	CALL (R9)
	JMP  (R21)

	// SSL_CTX_set_keylog_callback(R0=ctx, R1=cb): keep ours, remember theirs.
setcb:
	MOVD 32(R19), R9
	CMP  R9, R1
	BEQ  out
	CBZ  R0, out
	MOVD R0, R23
	B    tabput
setcbdone:
	MOVD 32(R19), R9
	MOVD R9, 8(RSP)
	JMP  (R21)

	// tabput: table[R23] = R1; goes on by R20.
tabput:
	MOVWU 60(R19), R9
	TBNZ $1, R9, tabfull // no way to chain
	ADD  $256, R19, R10
	MOVD $64, R11
tabnext:
	LDAXR (R10), R12
	CMP  R23, R12
	BEQ  tabhit
	CBNZ R12, tabskip
	CBZ  R1, tabdone   // nothing to remember
	STLXR R23, (R10), R13
	CBNZ R13, tabnext
tabhit:
	MOVD R1, 8(R10)
tabdone:
	CMP  $4, R20
	BEQ  setcbdone
	CMP  $7, R20
	BEQ  boringset
	B    ensureset
tabskip:
	ADD  $16, R10, R10
	SUBS $1, R11, R11
	BNE  tabnext
tabfull:
	CBZ  R1, tabdone
	JMP  (R21)

	// Our callback(R0=ssl, R1=line).
cb:
	MOVD R0, R24
	MOVD R1, R25
	MOVD $0, R2
clen:
	MOVBU (R1)(R2), R9
	CBZ  R9, clend
	ADD  $1, R2, R2
	CMP  $233, R2
	BLT  clen
clend:
	MOVD $0, R4
	MOVD $0, R7
	B    emit          // comes back to cbemitted by R20
cbemitted:
	MOVD R24, R0
	MOVD 24(R19), R9
	CBZ  R9, cbboring
	CALL (R9)          // SSL_get_SSL_CTX(ssl)
cbctx:
	ADD  $256, R19, R10
	MOVD $64, R11
chain:
	MOVD (R10), R9
	CBZ  R9, cbdone
	CMP  R9, R0
	BEQ  chained
	ADD  $16, R10, R10
	SUBS $1, R11, R11
	BNE  chain
cbdone:
	JMP  (R21)
chained:
	MOVD 8(R10), R9
	CBZ  R9, cbdone
	MOVD R24, R0
	MOVD R25, R1
	CALL (R9)
	JMP  (R21)
cbboring:
	MOVD 40(R19), R9
	ADD  R9, R24, R9
	MOVD (R9), R0      // ssl->ctx
	B    cbctx

	// end marker
	WORD $0x4859454b
	WORD $0x214b4f4f
	RET

// func blobAddr() unsafe.Pointer
TEXT ·blobAddr(SB), NOSPLIT, $0-8
	MOVD $·blob(SB), R0
	MOVD R0, ret+0(FP)
	RET
