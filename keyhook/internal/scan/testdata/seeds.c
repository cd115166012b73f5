// What the seeds of FuzzFile in testdata/fuzz were built from:
//	gcc -O2 -nostdlib -s -Wl,--build-id=none -Wl,-z,noseparate-code -fno-asynchronous-unwind-tables -fcf-protection=none
// and -shared -fPIC, -static or -static-pie, with -DSSL, -DSSL -DGETTER, -DLABELS or -DRUST.
#ifdef SSL
struct s { long pad; void *ctx; }; struct c { long pad[20]; void *cb; };
void *SSL_new(struct c *c) { return c->pad[1] ? (void*)c->pad[2] : c->cb; }
void *SSL_set_SSL_CTX(struct s *s, struct c *c) { s->ctx = c; return c->pad[1] ? (void*)c->pad[2] : c->cb; }
void *SSL_get_SSL_CTX(struct s *s) { return s->ctx; }
void SSL_CTX_set_keylog_callback(struct c *c, void *cb) { c->cb = cb; }
#ifdef GETTER
void *SSL_CTX_get_keylog_callback(struct c *c) { return c->cb; }
#endif
#endif
#ifdef LABELS
struct c { char pad[0x250]; void (*cb)(void *, const char *); }; struct s { char pad[0x68]; struct c *ctx; char random[32]; };
static char buf[300];
__attribute__((noinline)) int ssl_log_secret(struct s *s, const char *label, const char *secret, long n) {
	if (!s->ctx->cb) return 1;
	for (int i = 0; label[i]; i++) buf[i] = label[i];
	for (int i = 0; i < n; i++) buf[100 + i] = secret[i];
	s->ctx->cb(s, buf); return 1;
}
int f1(struct s *s, char *b) { return ssl_log_secret(s, "CLIENT_EARLY_TRAFFIC_SECRET", b, 32); }
int f2(struct s *s, char *b) { return ssl_log_secret(s, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", b, 32) + ssl_log_secret(s, "SERVER_HANDSHAKE_TRAFFIC_SECRET", b + 1, 32); }
int f3(struct s *s, char *b) { return ssl_log_secret(s, "CLIENT_TRAFFIC_SECRET_0", b, 32) + ssl_log_secret(s, "SERVER_TRAFFIC_SECRET_0", b + 1, 32) + ssl_log_secret(s, "EXPORTER_SECRET", b + 2, 32); }
int f4(struct s *s, char *b) { return ssl_log_secret(s, "CLIENT_RANDOM", b, 48); }
int main(int c, char **v) { return f1((void*)v, v[0]) + f2((void*)v, v[0]) + f3((void*)v, v[0]) + f4((void*)v, v[0]); }
void _start(void) { main(0, 0); }
#endif
#ifdef RUST
static const char name[] = "NoKeyLog";
__attribute__((noinline)) void drop(void *p) {}
int sink(void *, const char *, long);
__attribute__((noinline, noipa)) int sink(void *a, const char *b, long c) { return a && b[0] && c; }
__attribute__((noinline)) int fmt(void *s, void *f) { return sink(f, name, 8); }
__attribute__((noinline)) void log_(void *s) {}
__attribute__((noinline)) _Bool will(void *s, const char *l, long n) { return 0; }
void *const vtable[] = {0, 0, (void*)1, (void*)fmt, (void*)log_, (void*)will};
int version(void) { return sink((void*)vtable, "rustls-0.23.40/src/key_log.rs CLIENT_RANDOM", 5); }
void _start(void) { version(); }
#endif
