// A library with OpenSSL's key log API whose SSL_new logs one line at once.
#include <stdlib.h>
struct ctx { void *x; void (*cb)(void *, const char *); };
struct ssl { long a; struct ctx *c; };
void SSL_CTX_set_keylog_callback(struct ctx *c, void (*cb)(void *, const char *)) { c->cb = cb; }
void *SSL_CTX_get_keylog_callback(struct ctx *c) { return c->cb; }
struct ctx *SSL_get_SSL_CTX(struct ssl *s) { return s->c; }
struct ctx *SSL_CTX_new(void) { return calloc(1, sizeof(struct ctx)); }
struct ssl *SSL_new(struct ctx *c) {
	struct ssl *s = calloc(1, sizeof *s);
	s->c = c;
	if (c->cb) c->cb(s, "CLIENT_RANDOM 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 0123456789abcdef");
	return s;
}
