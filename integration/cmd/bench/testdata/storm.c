// Measures on its own clock and prints ns:
//	exec N PROGRAM [ARG...]	vfork and exec of a program, to its exit: the median
//	storm N PROGRAM [ARG...]	the same, all of them
//	map N FILE	an executable map of a file and its end: the median
//	getpid N	a system call that is not notified: the median of thousands
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}
static int cmp(const void *a, const void *b) { long x = *(long *)a, y = *(long *)b; return (x > y) - (x < y); }
int main(int argc, char **argv) {
	int n = atoi(argv[2]);
	long total = 0;
	long *t = malloc(n * sizeof *t);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int fd = strcmp(argv[1], "map") ? -1 : open(argv[3], O_RDONLY);
	for (int i = 0; i < n; i++) {
		long start = now();
		if (argv[1][0] == 'e' || argv[1][0] == 's') {
			char *env[] = {0};
			int status;
			pid_t p = vfork();
			if (p == 0) { dup2(null, 1); execve(argv[3], argv + 3, env); _exit(127); }
			waitpid(p, &status, 0);
			if (status) return 1;
		} else if (argv[1][0] == 'm') {
			void *p = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
			if (p == MAP_FAILED) return 1;
			munmap(p, 4096);
		} else {
			for (int k = 0; k < 1000; k++) syscall(SYS_getpid);
		}
		total += t[i] = now() - start;
	}
	qsort(t, n, sizeof *t, cmp);
	printf("%ld\n", argv[1][0] == 's' ? total : argv[1][0] == 'g' ? t[n / 2] / 1000 : t[n / 2]);
}
