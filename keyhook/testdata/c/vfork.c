// Runs argv[1] by vfork, posix_spawn and a daemon's double fork without descriptors.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
	int s, bad = 0;
	pid_t p = vfork();
	if (p == 0) { execv(argv[1], argv + 1); _exit(127); }
	waitpid(p, &s, 0);
	bad |= s;
	if (posix_spawn(&p, argv[1], 0, 0, argv + 1, environ)) return 2;
	waitpid(p, &s, 0);
	bad |= s;
	p = fork();
	if (p == 0) {
		setsid();
		if (fork()) _exit(0);
		closefrom(0);
		char *empty[] = {0};
		execve(argv[1], argv + 1, empty);
		_exit(127);
	}
	waitpid(p, &s, 0);
	return bad | s ? 1 : 0;
}
