// A 32-bit program without a libc that becomes argv[1].
void start(long *sp) {
	char **argv = (char **)(sp + 1), **env = argv + sp[0] + 1;
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "0"(11), "b"(argv[1]), "c"(argv + 1), "d"(env) : "memory");
	__asm__ volatile("int $0x80" : : "a"(1), "b"(99));
}
__asm__(".globl _start\n_start:\n mov %esp, %eax\n push %eax\n call start\n");
