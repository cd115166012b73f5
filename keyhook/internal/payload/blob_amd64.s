#include "textflag.h"

// The payload: position independent, without stack frame, globals or Go
// runtime. It is copied out of this binary's own text into the app.
//
// Entered by CALL from a generated stub (see x86.go) with
//	R15 = parameter block (offsets in payload.go)
//	R14 = operation
// and every general register of the app saved on the stack:
//	 8(SP) r15   16 r14   24 r13   32 r12   40 r11   48 r10   56 r9   64 r8
//	72 rdi   80 rsi   88 rbp   96 rbx   104 rdx   112 rcx   120 rax
//	128 return address of the hooked function (if hooked at its entry)
//
// It uses less than 170 bytes of stack (Go leaves 800 below the guard), no
// vector register and no red zone: hooks stand at function entries.
TEXT ·blob(SB), NOSPLIT|NOFRAME, $0-0
	CMPQ R14, $1
	JEQ  emit
	CMPQ R14, $2
	JEQ  ensure
	CMPQ R14, $3
	JEQ  ensuresi
	CMPQ R14, $4
	JEQ  setcb
	CMPQ R14, $5
	JEQ  cb
	CMPQ R14, $6
	JEQ  rustlog
	CMPQ R14, $7
	JEQ  boring
	CMPQ R14, $8
	JEQ  gnutls
	CMPQ R14, $9
	JEQ  nss
	CMPQ R14, $10
	JEQ  mbed
	CMPQ R14, $11
	JEQ  mbedkey
	RET

	// NSS' ssl3_RecordKeyLog(DI=socket, SI=label, DX=PK11SymKey), by
	// PK11_ExtractKeyValue(key) and PK11_GetKeyData(key), a SECItem {type, data, len}
nss:
	MOVQ SP, BP
	ANDQ $~15, SP
	MOVQ DI, R13
	MOVQ SI, R12
	MOVQ DX, BX
	MOVQ DX, DI
	MOVQ 8(R15), AX
	MOVQ 0(AX), AX     // by the library's own import
	CALL AX
	TESTL AX, AX
	JNE  ensured
	MOVQ BX, DI
	MOVQ 16(R15), AX
	MOVQ 0(AX), AX
	CALL AX
	TESTQ AX, AX
	JEQ  ensured
	MOVQ 8(AX), R9
	MOVL 16(AX), R10
	MOVQ BP, SP
	MOVQ R13, DI
	MOVQ R12, BX
	XORL CX, CX
	JMP  glen

	// mbedtls_ssl_setup(DI=ssl, SI=configuration): put our key export in
	// unless the app has one.
mbed:
	TESTQ SI, SI
	JEQ  out
	MOVQ SI, AX
	ADDQ 40(R15), AX   // &conf->f_export_keys_ext
	ADDQ 48(R15), SI   // &conf->f_export_keys
	MOVQ 0(AX), CX
	ORQ  0(SI), CX
	JNE  out
	MOVQ 32(R15), CX
	MOVQ CX, 0(AX)
	RET

	// Our key export(DI=p, SI=master secret, .., 136(SP)=client random, ..), which
	// returns 0.
mbedkey:
	MOVQ $0, 120(SP)
	MOVQ SI, R9
	MOVL $48, R10
	MOVQ 136(SP), DI
	MOVL $32, SI
	MOVQ 8(R15), BX    // "CLIENT_RANDOM"
	MOVL $13, CX
	JMP  emit

	// GnuTLS' (DI=session, SI=label, DX,CX secret)
gnutls:
	MOVQ DX, R9
	MOVQ CX, R10
	MOVQ SI, BX
	XORL CX, CX
glen:
	CMPB (BX)(CX*1), $0
	JEQ  glend
	INCQ CX
	CMPQ CX, $65
	JLT  glen
glend:
	ADDQ 40(R15), DI   // &session->client_random
	MOVL $32, SI
	JMP  emit

	// rustls KeyLog::log(DI=self, SI,DX label, CX,R8 random, R9,136(SP) secret)
rustlog:
	MOVQ SI, BX
	MOVQ CX, DI
	MOVQ DX, CX
	MOVQ R8, SI
	MOVQ 136(SP), R10
	JMP  emit

	// BoringSSL's ssl_log_secret(DI=ssl, ..) is about to look at
	// ssl->ctx->keylog_callback: put ours there and remember the app's.
boring:
	ADDQ 40(R15), DI
	MOVQ 0(DI), BX     // ssl->ctx
	TESTQ BX, BX
	JEQ  out
	MOVQ BX, R13
	ADDQ 48(R15), R13  // &ctx->keylog_callback
	MOVQ 0(R13), SI
	CMPQ SI, 32(R15)
	JEQ  out
	MOVQ SP, BP
	JMP  tabput
boringset:
	MOVQ 32(R15), AX
	MOVQ AX, 0(R13)
	RET

	// emit one record. Three spans: BX/CX, DI/SI, R9/R10.
emit:
	MOVQ 0(R15), R12
	CMPQ CX, $232
	JHI  drop
	CMPQ SI, $232
	JHI  drop
	CMPQ R10, $232
	JHI  drop
	MOVQ CX, AX
	ADDQ SI, AX
	ADDQ R10, AX
	CMPQ AX, $232
	JHI  drop
	XORL DX, DX        // DX = pid<<32 | tid
	MOVL 60(R15), AX
	TESTL $1, AX
	JEQ  retries
	MOVQ CX, R8
	MOVL $186, AX      // gettid
	SYSCALL
	MOVL AX, DX
	MOVL $39, AX       // getpid
	SYSCALL
	SHLQ $32, AX
	ORQ  AX, DX
	MOVQ R8, CX
retries:
	MOVL $4096, R13    // a corrupt ring must not hold us for ever
reserve:
	DECQ R13
	JEQ  drop
	MOVQ 64(R12), AX
	MOVQ AX, R11
	ANDQ $16383, R11
	MOVQ AX, R8
	SUBQ R11, R8       // base
	SHLQ $8, R11
	LEAQ 4096(R12)(R11*1), R11
	SUBQ 0(R11), R8    // base - stamp
	JLT  reserve       // taken meanwhile
	JNE  drop          // full
	LEAQ 1(AX), R8
	LOCK
	CMPXCHGQ R8, 64(R12)
	JNE  reserve
	MOVQ AX, R13
	ANDQ $~16383, R13  // base
	MOVQ DX, 8(R11)
	MOVL 56(R15), AX
	MOVL AX, 16(R11)   // image
	MOVB R14, 20(R11)
	MOVB CX, 21(R11)
	MOVQ SI, R8
	MOVB R8, 22(R11)
	MOVB R10, 23(R11)
	MOVQ DI, AX
	LEAQ 24(R11), DI
	MOVQ BX, SI
	REP
	MOVSB
	MOVQ AX, SI
	MOVQ R8, CX
	REP
	MOVSB
	MOVQ R9, SI
	MOVQ R10, CX
	REP
	MOVSB
	MOVQ R13, AX
	LEAQ 1(R13), R8
	LOCK
	CMPXCHGQ R8, 0(R11) // publish, unless the reader has given the slot up
	JNE  drop
	LOCK
	INCL 192(R12)
	MOVL 196(R12), AX
	TESTL AX, AX
	JEQ  emitted
	MOVL $202, AX      // futex(&word, FUTEX_WAKE, 1)
	LEAQ 192(R12), DI
	MOVL $1, SI
	MOVL $1, DX
	SYSCALL
emitted:
	CMPQ R14, $5
	JEQ  cbemitted
out:
	RET
drop:
	LOCK
	INCQ 128(R12)
	JMP  emitted

	// Ensure that our keylog callback is set on the SSL_CTX in DI.
ensuresi:
	MOVQ SI, DI
ensure:
	TESTQ DI, DI
	JEQ  out
	MOVQ DI, BX
	MOVQ SP, BP
	ANDQ $~15, SP
	MOVQ 8(R15), AX
	CALL AX
	CMPQ AX, 32(R15)
	JEQ  ensured
	MOVQ AX, SI
	JMP  tabput
ensureset:
	MOVQ BX, DI
	MOVQ 32(R15), SI
	MOVQ 16(R15), AX
	CALL AX
ensured:
	MOVQ BP, SP
	RET

	// SSL_CTX_set_keylog_callback(DI=ctx, SI=cb): keep ours, remember theirs.
setcb:
	CMPQ SI, 32(R15)
	JEQ  out
	TESTQ DI, DI
	JEQ  out
	MOVQ DI, BX
	MOVQ SP, BP
	JMP  tabput
setcbdone:
	MOVQ 32(R15), AX
	MOVQ AX, 80(SP)
	RET

	// tabput: table[BX] = SI; goes on at ensureset, setcbdone or boringset by
	// R14. A full table leaves the app's own callback alone.
tabput:
	MOVL 60(R15), R8
	TESTL $2, R8
	JNE  tabfull       // no way to chain
	LEAQ 256(R15), R8
	MOVL $64, R9
tabnext:
	MOVQ 0(R8), AX
	CMPQ AX, BX
	JEQ  tabhit
	TESTQ AX, AX
	JNE  tabskip
	TESTQ SI, SI
	JEQ  tabdone       // nothing to remember
	LOCK
	CMPXCHGQ BX, 0(R8)
	JEQ  tabhit
	JMP  tabnext
tabskip:
	ADDQ $16, R8
	DECQ R9
	JNE  tabnext
tabfull:
	TESTQ SI, SI
	JEQ  tabdone
	MOVQ BP, SP
	RET
tabhit:
	MOVQ SI, 8(R8)
tabdone:
	CMPQ R14, $4
	JEQ  setcbdone
	CMPQ R14, $7
	JEQ  boringset
	JMP  ensureset

	// Our callback(DI=ssl, SI=line).
cb:
	MOVQ SP, BP
	ANDQ $~15, SP
	LEAQ -16(SP), SP
	MOVQ DI, 8(SP)
	MOVQ SI, 0(SP)
	MOVQ SI, BX
	XORL CX, CX
clen:
	CMPB (BX)(CX*1), $0
	JEQ  clend
	INCQ CX
	CMPQ CX, $233
	JLT  clen
clend:
	XORL DI, DI
	XORL SI, SI
	XORL R9, R9
	XORL R10, R10
	JMP  emit          // comes back to cbemitted by R14
cbemitted:
	MOVQ 8(SP), DI
	MOVQ 24(R15), AX
	TESTQ AX, AX
	JEQ  cbboring
	CALL AX            // SSL_get_SSL_CTX(ssl)
cbctx:
	LEAQ 256(R15), R8
	MOVL $64, R9
chain:
	MOVQ 0(R8), CX
	TESTQ CX, CX
	JEQ  cbdone
	CMPQ CX, AX
	JEQ  chained
	ADDQ $16, R8
	DECQ R9
	JNE  chain
	JMP  cbdone
chained:
	MOVQ 8(R8), AX
	TESTQ AX, AX
	JEQ  cbdone
	MOVQ 0(SP), SI
	MOVQ 8(SP), DI
	CALL AX
cbdone:
	MOVQ BP, SP
	RET
cbboring:
	ADDQ 40(R15), DI
	MOVQ 0(DI), AX     // ssl->ctx
	JMP  cbctx

	// end marker
	BYTE $0x4b; BYTE $0x45; BYTE $0x59; BYTE $0x48
	BYTE $0x4f; BYTE $0x4f; BYTE $0x4b; BYTE $0x21
	RET

// func blobAddr() unsafe.Pointer
TEXT ·blobAddr(SB), NOSPLIT, $0-8
	LEAQ ·blob(SB), AX
	MOVQ AX, ret+0(FP)
	RET
