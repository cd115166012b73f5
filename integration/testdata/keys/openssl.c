// Fetches a path twice, the second time in the first one's session: host port path.
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
static SSL_SESSION *last;
static int keep(SSL *s, SSL_SESSION *session) { last = session; return 1; }
int main(int argc, char **argv) {
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(c, keep);
	for (int i = 0; i < 2; i++) {
		struct addrinfo *a, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
		if (getaddrinfo(argv[1], argv[2], &hints, &a)) return 1;
		int fd = socket(a->ai_family, SOCK_STREAM, 0);
		if (connect(fd, a->ai_addr, a->ai_addrlen)) return 2;
		SSL *s = SSL_new(c);
		SSL_set_fd(s, fd);
		if (last) SSL_set_session(s, last);
		if (SSL_connect(s) != 1) return 3;
		char b[4096];
		SSL_write(s, b, snprintf(b, sizeof b, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", argv[3], argv[1], argv[2]));
		while (SSL_read(s, b, sizeof b) > 0);
	}
	return 0;
}
