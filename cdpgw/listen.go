package cdpgw

import (
	"fmt"
	"net"
	"os"
)

// listen opens the socket of o, or takes over the inherited one.
func listen(o Options) (net.Listener, error) {
	if o.ListenFD == 0 {
		ln, err := net.Listen("tcp", o.Addr)
		if err != nil {
			return nil, fmt.Errorf("cdpgw: DevTools can't listen: %w (choose another port, or 127.0.0.1:0 for any free one)", err)
		}
		return ln, nil
	}
	f := os.NewFile(uintptr(o.ListenFD), "listener")
	if f == nil {
		return nil, fmt.Errorf("cdpgw: inherited descriptor %d is not open", o.ListenFD)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cdpgw: inherited descriptor %d is not a listening socket: %w", o.ListenFD, err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("cdpgw: inherited socket listens on %v, which is not loopback", ln.Addr())
	}
	return ln, nil
}
