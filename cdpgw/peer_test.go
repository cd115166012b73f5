package cdpgw

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestSocketOwner(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Log(err)
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		local, remote := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
		if uid, found, err := socketOwner(local, remote); uid != os.Getuid() || !found || err != nil {
			t.Errorf("%s: uid %d, found %v, %v", addr, uid, found, err)
		}
		if why := refusePeer(c.LocalAddr(), c.RemoteAddr()); why != "" {
			t.Error(why)
		}
	}
	if _, found, err := socketOwner(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")); found || err != nil {
		t.Errorf("a socket that is not there: %v, %v", found, err)
	}
}

// Another user of the machine gets nothing.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	g := start(t, Options{Discovery: true})
	get := func(uid, path string) string {
		out, err := exec.Command("setpriv", "--reuid", uid, "--clear-groups", "curl", "-s", "-m", "60", "http://"+g.host()+path).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, path := range []string{"/json/list", "/json/version", "/", "/" + secret + "/", "/devtools/page/" + secret} {
		if got := get("65534", path); !strings.Contains(got, "another user (uid 65534)") || strings.Contains(got, secret) {
			t.Errorf("%s as another user: %.100s", path, got)
		}
	}
	if got := get("0", "/json/list"); !strings.Contains(got, secret) {
		t.Errorf("as root: %.100s", got)
	}
}
