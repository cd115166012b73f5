package seccomp

// Native is the ABI of this program.
var Native = ARM64
