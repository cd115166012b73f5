// libcurl-gnutls.so.4 for git, by the libcurl that is linked with OpenSSL.
#define FORWARD(f) \
	__asm__(".symver real_" #f ", " #f "@CURL_OPENSSL_4\n" \
		".globl " #f "\n.type " #f ", @function\n" #f ": jmp *real_" #f "@GOTPCREL(%rip)\n");
FORWARD(curl_easy_cleanup) FORWARD(curl_easy_duphandle) FORWARD(curl_easy_getinfo) FORWARD(curl_easy_init)
FORWARD(curl_easy_setopt) FORWARD(curl_easy_strerror) FORWARD(curl_global_cleanup) FORWARD(curl_global_init)
FORWARD(curl_global_sslset) FORWARD(curl_multi_add_handle) FORWARD(curl_multi_cleanup) FORWARD(curl_multi_fdset)
FORWARD(curl_multi_info_read) FORWARD(curl_multi_init) FORWARD(curl_multi_perform) FORWARD(curl_multi_remove_handle)
FORWARD(curl_multi_strerror) FORWARD(curl_multi_timeout) FORWARD(curl_slist_append) FORWARD(curl_slist_free_all)
