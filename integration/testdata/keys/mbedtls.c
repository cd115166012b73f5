// Fetches a path twice, the second time in the first one's session: host port path.
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <stdio.h>
int main(int argc, char **argv) {
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_ssl_config conf;
	mbedtls_ssl_session session;
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random);
	mbedtls_ssl_config_init(&conf);
	mbedtls_ssl_session_init(&session);
	mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, 0, 0);
	mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
	mbedtls_ssl_conf_authmode(&conf, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &random);
	for (int i = 0; i < 2; i++) {
		mbedtls_net_context net;
		mbedtls_ssl_context ssl;
		mbedtls_net_init(&net);
		mbedtls_ssl_init(&ssl);
		if (mbedtls_net_connect(&net, argv[1], argv[2], MBEDTLS_NET_PROTO_TCP)) return 1;
		if (mbedtls_ssl_setup(&ssl, &conf)) return 2;
		if (i) mbedtls_ssl_set_session(&ssl, &session);
		mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, 0);
		unsigned char b[4096];
		int n = snprintf((char *)b, sizeof b, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", argv[3], argv[1], argv[2]);
		if (mbedtls_ssl_write(&ssl, b, n) <= 0) return 3;
		mbedtls_ssl_get_session(&ssl, &session);
		while (mbedtls_ssl_read(&ssl, b, sizeof b) > 0);
		mbedtls_net_free(&net);
	}
	return 0;
}
