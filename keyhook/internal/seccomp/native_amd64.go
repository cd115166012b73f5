package seccomp

// Native is the ABI of this program.
var Native = AMD64
