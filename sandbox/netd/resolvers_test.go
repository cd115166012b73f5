//go:build linux

package netd

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clipper/sandbox/internal/subnet"
)

func TestNameServers(t *testing.T) {
	conf := "# a comment\nsearch example.com\nnameserver 127.0.0.53\n nameserver\t2001:db8::53 \nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\noptions edns0\n"
	var got []string
	for _, a := range nameServers(conf) {
		got = append(got, a.String())
	}
	if want := []string{"127.0.0.53:53", "[2001:db8::53]:53", "[fe80::1%eth0]:53"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestResolversFollowTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(s string, at time.Time) {
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(path, at, at)
	}
	r := &resolvers{path: path}
	ask := func(a netip.Addr) string {
		r.asked = time.Time{}
		got, _ := r.at(a)
		return got.String()
	}
	if got := ask(subnet.DNS4); got != "127.0.0.1:53" {
		t.Errorf("without a file: %s", got)
	}
	write("nameserver 192.0.2.1\nnameserver 192.0.2.2\n", time.Unix(1, 0))
	if got := ask(subnet.DNS4); got != "192.0.2.1:53" {
		t.Errorf("first server: %s", got)
	}
	if got := ask(subnet.DNS4.Next()); got != "192.0.2.2:53" {
		t.Errorf("second server: %s", got)
	}
	write("nameserver 192.0.2.3\n", time.Unix(2, 0))
	if got := ask(subnet.DNS4.Next()); got != "192.0.2.3:53" {
		t.Errorf("after a change: %s", got)
	}
	if got, ok := r.at(subnet.Gateway4); ok {
		t.Errorf("the gateway is no server: %v", got)
	}
}

func TestGivenResolvers(t *testing.T) {
	r, err := newResolvers([]string{"192.0.2.1", "127.0.0.1:5353", "2001:db8::53"})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := r.at(subnet.DNS4.Next()); got.String() != "127.0.0.1:5353" {
		t.Errorf("second server: %v", got)
	}
	if _, err := newResolvers([]string{"dns.example"}); err == nil {
		t.Error("a name was taken for an address")
	}
}
