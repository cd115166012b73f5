// A thread that is not the leader becomes argv[1].
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static char **args;
static void *become(void *x) { execv(args[1], args + 1); perror("exec"); return 0; }
static void *idle(void *x) { for (;;) pause(); }
int main(int argc, char **argv) {
	args = argv;
	pthread_t t;
	pthread_create(&t, 0, idle, 0); pthread_create(&t, 0, become, 0);
	pthread_join(t, 0);
}
