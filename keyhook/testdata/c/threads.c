// dlopens libssl twice at a time in threads, 60 times, while others are busy
// and a timer interrupts everything; the key log callback must be set each time.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
static volatile long alarms;
static volatile int stop;
static void on_alarm(int s) { alarms++; }
static void *busy(void *x) {
	while (!stop) { void *p = malloc(100); memset(p, 1, 100); free(p); }
	return 0;
}
static void *use(void *lib) {
	void *h = dlopen(lib, RTLD_NOW);
	if (!h) { puts(dlerror()); exit(1); }
	void *(*method)(void) = dlsym(h, "TLS_method"), *(*ctx_new)(void *) = dlsym(h, "SSL_CTX_new");
	void *(*ssl_new)(void *) = dlsym(h, "SSL_new"), *(*get)(void *) = dlsym(h, "SSL_CTX_get_keylog_callback");
	void (*ssl_free)(void *) = dlsym(h, "SSL_free"), (*ctx_free)(void *) = dlsym(h, "SSL_CTX_free");
	void *ctx = ctx_new(method()), *ssl = ssl_new(ctx);
	if (!get(ctx)) { puts("no callback"); exit(2); }
	ssl_free(ssl); ctx_free(ctx); dlclose(h);
	return 0;
}
int main(int argc, char **argv) {
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &sa, 0);
	struct itimerval it = {{0, 200}, {0, 200}};
	setitimer(ITIMER_REAL, &it, 0);
	pthread_t t[3];
	for (int i = 0; i < 3; i++) pthread_create(t + i, 0, busy, 0);
	for (int i = 0; i < 60; i++) {
		pthread_t a, b;
		pthread_create(&a, 0, use, argv[1]); pthread_create(&b, 0, use, argv[1]);
		pthread_join(a, 0); pthread_join(b, 0);
	}
	stop = 1;
	for (int i = 0; i < 3; i++) pthread_join(t[i], 0);
	printf("ok, %s\n", alarms > 0 ? "with alarms" : "no alarm came");
}
