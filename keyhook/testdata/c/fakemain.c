// Uses fakessl with a callback of its own.
#include <stdio.h>
void *SSL_CTX_new(void);
void *SSL_new(void *);
void SSL_CTX_set_keylog_callback(void *, void *);
static void line(void *s, const char *l) { puts(l); }
int main(void) {
	void *c = SSL_CTX_new();
	SSL_CTX_set_keylog_callback(c, line);
	SSL_new(c);
	return 0;
}
