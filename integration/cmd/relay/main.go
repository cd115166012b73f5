// Relay listens on its first argument, passes one connection on to the address
// in its second, and ends when either side does. It has no TLS library.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := relay(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func relay(listen, to string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	a, err := l.Accept()
	if err != nil {
		return err
	}
	b, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	done := make(chan struct{}, 2)
	for _, p := range [2][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			io.Copy(p[0], p[1])
			done <- struct{}{}
		}()
	}
	<-done
	return nil
}
