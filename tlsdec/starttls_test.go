package tlsdec

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// turn is what a server says once it has read something that ends in after.
type turn struct{ after, say string }

// startTLSDialogues are a server's part of each protocol before TLS.
var startTLSDialogues = map[string][]turn{
	"smtp":     {{"", "220 mail ESMTP\r\n"}, {"\r\n", "250-mail\r\n250 STARTTLS\r\n"}, {"STARTTLS\r\n", "220 go\r\n"}},
	"lmtp":     {{"", "220 mail LMTP\r\n"}, {"\r\n", "250-mail\r\n250 STARTTLS\r\n"}, {"STARTTLS\r\n", "220 go\r\n"}},
	"pop3":     {{"", "+OK\r\n"}, {"STLS\r\n", "+OK go\r\n"}},
	"imap":     {{"", "* OK\r\n"}, {"CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK\r\n"}, {"STARTTLS\r\n", ". OK go\r\n"}},
	"nntp":     {{"", "200 news\r\n"}, {"CAPABILITIES\r\n", "101 list\r\nSTARTTLS\r\n.\r\n"}, {"STARTTLS\r\n", "382 go\r\n"}},
	"sieve":    {{"", "\"STARTTLS\"\r\nOK\r\n"}, {"STARTTLS\r\n", "OK\r\n"}},
	"xmpp":     {{">", "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"}, {"/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"}},
	"postgres": {{"\x04\xd2\x16\x2f", "S"}},
	"mysql":    {{"", "\x4a\x00\x00\x00\x0a8.0.32\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00caching_sha2_password\x00"}, {strings.Repeat("\x00", 23), ""}},
	"ldap":     {{"1.3.6.1.4.1.1466.20037", "0\x0c\x02\x01\x01x\x07\n\x01\x00\x04\x00\x04\x00"}},
}

// serveStartTLS serves one connection: a dialogue, then TLS in which lines come back.
func serveStartTLS(t *testing.T, dialogue []turn, version uint16) (addr string, said [2]*strings.Builder) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said = [2]*strings.Builder{{}, {}}
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			return
		}
		defer c.Close()
		for _, turn := range dialogue {
			read := ""
			for b := make([]byte, 1); turn.after != "" && !strings.HasSuffix(read, turn.after); read += string(b) {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
			}
			said[0].WriteString(read)
			said[1].WriteString(turn.say)
			io.WriteString(c, turn.say)
		}
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{testKeys().rsa}, MaxVersion: version})
		lines := bufio.NewReader(s)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				s.Close()
				return
			}
			said[0].WriteString(line)
			said[1].WriteString(line)
			io.WriteString(s, line)
		}
	}()
	return l.Addr().String(), said
}

// TestStartTLS: real clients begin TLS in the middle of a connection.
func TestStartTLS(t *testing.T) {
	needOpenSSL(t)
	for protocol, dialogue := range startTLSDialogues {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("%s %s", protocol, versionName(version)), func(t *testing.T) {
				addr, said := serveStartTLS(t, dialogue, version)
				log := filepath.Join(t.TempDir(), "keys")
				r := newRecorder()
				through(t, r, addr, func(addr string) {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					cmd := exec.CommandContext(ctx, "openssl", "s_client", "-connect", addr, "-quiet", "-no_ign_eof", "-servername", "example.test", "-keylogfile", log, "-starttls", protocol)
					stdin, _ := cmd.StdinPipe()
					stdout, _ := cmd.StdoutPipe()
					var stderr keyLog
					cmd.Stderr = &stderr
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					out := bufio.NewReader(stdout)
					io.WriteString(stdin, "hello\n")
					for { // -quiet still shows the last line of some dialogues
						line, err := out.ReadString('\n')
						if err != nil {
							t.Errorf("no answer: %s", stderr.String())
							break
						}
						if line == "hello\n" {
							break
						}
					}
					stdin.Close()
					io.Copy(io.Discard, out)
					cmd.Wait()
				})
				keys, _ := os.ReadFile(log)
				tr := r.end()
				tr.secrets = parseKeyLog(t, string(keys))
				tr.sent = [2][]byte{[]byte(said[0].String()), []byte(said[1].String())}
				o := decode(t, tr)
				o.wantPlain(t, tr)
				if o.info == nil || o.info.SNI != "example.test" || o.info.Version != versionName(version) || len(o.verdicts) > 0 || len(tr.sent[0]) < 6 {
					t.Errorf("%+v %+v %q", o.info, o.verdicts, tr.sent)
				}
			})
		}
	}
}
