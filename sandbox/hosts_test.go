//go:build linux

package sandbox

import "testing"

func TestLocalhostIPv4(t *testing.T) {
	for _, c := range []struct{ hosts, want string }{
		{"127.0.0.1 localhost\n::1 localhost\n", "127.0.0.1 localhost\n"},
		{"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback # six\nff02::1 ip6-allnodes\n", "127.0.0.1\tlocalhost\n::1\tip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n"},
		{"127.0.1.1 box.example box\n::1 box\n192.0.2.1 other", "127.0.1.1 box.example box\n192.0.2.1 other"},
		// Only IPv6 has the name, so it stays.
		{"::1 localhost\n", ""},
		{"192.0.2.1 localhost\n::1 localhost\n", ""},
		{"127.0.0.1 localhost\n# ::1 localhost\n", ""},
		{"", ""},
	} {
		got, changed := localhostIPv4(c.hosts)
		if !changed {
			if got != c.hosts {
				t.Errorf("%q: changed to %q", c.hosts, got)
			}
			got = ""
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.hosts, got, c.want)
		}
	}
}

func TestResolvConf(t *testing.T) {
	const host = "# comment\nnameserver 192.0.2.1\n search  a.example b.example\noptions edns0 trust-ad\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
	const want = "nameserver 10.0.2.3\nnameserver 10.0.2.4\nnameserver 10.0.2.5\nsearch a.example b.example\noptions edns0 trust-ad\n"
	if got := string(resolvConf([]byte(host))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(resolvConf(nil)); got != "nameserver 10.0.2.3\n" {
		t.Errorf("without servers: %q", got)
	}
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n::1 localhost # x\n")
	f.Fuzz(func(t *testing.T, s string) {
		once, _ := localhostIPv4(s)
		if twice, changed := localhostIPv4(once); changed {
			t.Errorf("%q, then %q", once, twice)
		}
	})
}
