// Fetches a path once: host port path.
#include <netdb.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <stdio.h>
int main(int argc, char **argv) {
	struct addrinfo *a, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	if (getaddrinfo(argv[1], argv[2], &hints, &a)) return 1;
	int fd = socket(a->ai_family, SOCK_STREAM, 0);
	if (connect(fd, a->ai_addr, a->ai_addrlen)) return 2;
	wolfSSL_Init();
	WOLFSSL_CTX *c = wolfSSL_CTX_new(wolfSSLv23_client_method());
	wolfSSL_CTX_set_verify(c, SSL_VERIFY_NONE, 0);
	WOLFSSL *s = wolfSSL_new(c);
	wolfSSL_set_fd(s, fd);
	char b[4096];
	if (wolfSSL_write(s, b, snprintf(b, sizeof b, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", argv[3], argv[1], argv[2])) <= 0) return 3;
	while (wolfSSL_read(s, b, sizeof b) > 0);
	return 0;
}
