// Package keyhook takes the TLS secrets out of running, unmodified programs.
//
// In flow seccomp user notifications of every exec and every executable file
// mapping under the sandbox's filter (Install), and the lines that programs
// write to SSLKEYLOGFILE by themselves (Environment). Out flow TLS secrets on
// layer bus.Keys and process events (exec, hook, exit) on layer bus.Proc,
// partition bus.ProcKeyhook.
//
// At a notification the supervisor (Main) looks at the file. Where it holds a
// TLS library that can be hooked with certainty, the task is stopped by ptrace
// for about a millisecond at the end of that one system call: a code page and
// the shared key ring are mapped, a few bytes are patched, the registers are
// restored and the task is let go. From then on secrets reach the ring with no
// supervisor in between. Every failure ends in the program running as if
// nothing had been there.
//
// # How each library is reached
//
//	OpenSSL 1.1.1 and later, BoringSSL with symbols   hooks of SSL_new, SSL_set_SSL_CTX, SSL_CTX_set_keylog_callback; the program's own callback is called after ours
//	OpenSSL and BoringSSL, static and stripped        ssl_log_secret, found as the function that gets the key log labels
//	GnuTLS                                            the function that gets the labels
//	NSS                                               the function that gets the labels, which is empty in a build without SSLKEYLOGFILE
//	mbed TLS 2.17 to 2.28                             its key export callback, in programs that have none of their own
//	Go crypto/tls and its forks, 1.18 and later       (*Config).writeKeyLog, found in the function table
//	rustls                                            the vtables of NoKeyLog and KeyLogFile, found by their relocations
//	Java JSSE                                         an agent by JAVA_TOOL_OPTIONS
//	everything else                                   SSLKEYLOGFILE, if it honours it
//
// What was found in a file is remembered by device, inode, size and times, for large
// files also on disk, in the user's cache directory: the search of a browser takes
// a second.
//
// # Verdicts
//
// A hook event says placed, not-needed or impossible, for the last two with a
// sentence why, and what would help (bus.ProcEvent.Reason, Help). The verdict on
// a connection without secrets repeats that of its process. Impossible are:
//
//   - a program that is being traced already, or that the kernel does not let us
//     trace (Yama's ptrace_scope 3, another user's);
//   - a 32-bit or foreign program;
//   - an OpenSSL without key log callback; a Go program older than 1.18; a
//     rustls, BoringSSL, OpenSSL or NSS whose key log was not found;
//   - mbed TLS 3, wolfSSL, s2n-tls, LibreSSL and Erlang, which give no way in;
//   - a Java runtime without the module java.instrument, which takes no agent;
//   - a file whose code is not in memory as it is on disk, whose search took
//     longer than 10 s, or whose file system does not answer;
//   - a program that was to be hooked at the moment the supervisor was killed, or
//     while too many others were.
//
// A connection of a process without any hook event has a TLS library that is not
// known here.
//
// A TLS 1.2 session that a Go program resumes has no line of its own in any
// key log: its secret is the one of the session that it resumes.
//
// # Limits
//
// Linux 5.5; complete on amd64, on arm64 without the search of stripped
// libraries and never run on a machine. NO_NEW_PRIVS is set, so setuid programs
// gain nothing. A program that wants a seccomp listener of its own gets EBUSY.
// While no supervisor runs and somebody holds the listener, execs and
// executable maps wait; when nobody holds it any more they fail with ENOSYS.
package keyhook
