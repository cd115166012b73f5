// A program with a key log callback of its own, set before or after SSL_new:
// prints what it gets. argv: host port when(before|after)
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void line(const SSL *s, const char *l) { puts(l); }
int main(int argc, char **argv) {
	struct addrinfo *a;
	if (getaddrinfo(argv[1], argv[2], 0, &a)) return 1;
	int fd = socket(a->ai_family, SOCK_STREAM, 0);
	if (connect(fd, a->ai_addr, a->ai_addrlen)) return 2;
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	if (!strcmp(argv[3], "before")) SSL_CTX_set_keylog_callback(c, line);
	SSL *s = SSL_new(c);
	if (!strcmp(argv[3], "after")) SSL_CTX_set_keylog_callback(c, line);
	SSL_set_fd(s, fd);
	if (SSL_connect(s) != 1) return 3;
	SSL_write(s, "GET / HTTP/1.0\r\n\r\n", 18);
	char b[4096];
	while (SSL_read(s, b, sizeof b) > 0);
	return SSL_CTX_get_keylog_callback(c) == 0 ? 4 : 0;
}
