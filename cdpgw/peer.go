package cdpgw

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// peerKey holds, in the context of a connection, why it is refused.
type peerKey struct{}

// withPeer notes who made a connection. A loopback address is everybody's on
// this machine; the kernel knows whose socket the other end is.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, refusePeer(c.RemoteAddr(), c.LocalAddr()))
}

// refusePeer says why the process at client may not read this session, "" if it
// may: it belongs to the user whose traffic this is, or to root.
func refusePeer(client, server net.Addr) string {
	c, ok1 := client.(*net.TCPAddr)
	s, ok2 := server.(*net.TCPAddr)
	if !ok1 || !ok2 {
		return ""
	}
	uid, found, err := socketOwner(c.AddrPort(), s.AddrPort())
	switch {
	case err != nil: // a system without /proc: as Chrome itself
		return ""
	case !found:
		return "it comes from nowhere on this machine"
	case uid != 0 && uid != os.Getuid():
		return "it comes from another user (uid " + strconv.Itoa(uid) + ")"
	}
	return ""
}

func refusedPeer(r *http.Request) string {
	why, _ := r.Context().Value(peerKey{}).(string)
	return why
}

// socketOwner finds the user of the socket with this local and remote address
// (proc_pid_net(5), tcp).
func socketOwner(local, remote netip.AddrPort) (uid int, found bool, err error) {
	local, remote = netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	for _, file := range []string{"tcp", "tcp6"} {
		b, rerr := os.ReadFile("/proc/net/" + file)
		if rerr != nil {
			if file == "tcp" {
				err = rerr
			}
			continue
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			f := strings.Fields(lines.Text())
			if len(f) < 8 || procAddr(f[1]) != local || procAddr(f[2]) != remote {
				continue
			}
			if uid, err := strconv.Atoi(f[7]); err == nil {
				return uid, true, nil
			}
		}
	}
	return 0, false, err
}

// procAddr reads "0100007F:1F90": 32-bit words in the machine's order, and a port.
func procAddr(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for word := range slices.Chunk(b, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p))
}
