//go:build linux

package sandbox_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// client is what tests run inside a sandbox when no real program fits.
func client(args []string) int {
	var err error
	switch args[0] {
	case "upload":
		err = upload(args[1], args[2])
	case "last-words":
		err = lastWords(args[1], args[2], args[3])
	case "half-close-after":
		err = halfCloseAfter(args[1], args[2])
	case "download":
		err = download(args[1])
	case "parallel":
		err = parallel(args[1], args[2])
	case "udp":
		err = udpEcho(args[1], args[2])
	case "udp-refused":
		err = udpRefused(args[1])
	case "udp-server":
		err = udpServer(args[1])
	case "ping":
		err = ping(args[1])
	case "dial":
		err = dialOnly(args[1])
	case "own":
		err = own(args[1], args[2], args[3], args[4])
	case "half-close":
		err = halfClose(args[1])
	case "data-then-reset":
		err = dataThenReset(args[1])
	case "serve":
		err = serveOnce(args[1])
	default:
		err = fmt.Errorf("no client %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		return 1
	}
	return 0
}

// stream is n bytes that look random, the same every time.
func stream(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), n) }

func upload(addr, size string) error {
	n, _ := strconv.ParseInt(size, 10, 64)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(c, h), stream(n)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	theirs, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if ours := fmt.Sprintf("%x", h.Sum(nil)); string(theirs) != ours {
		return fmt.Errorf("the peer got %s, sent was %s", theirs, ours)
	}
	return nil
}

// lastWords sends and ends, without waiting for anything.
func lastWords(network, addr, size string) error {
	n, _ := strconv.ParseInt(size, 10, 64)
	c, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	_, err = io.Copy(c, stream(n))
	return err
}

// halfCloseAfter sends, and waits for the peer's end.
func halfCloseAfter(addr, size string) error {
	n, _ := strconv.ParseInt(size, 10, 64)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	if _, err := io.Copy(c, stream(n)); err != nil {
		return err
	}
	c.(*net.TCPConn).CloseWrite()
	_, err = io.Copy(io.Discard, c)
	return err
}

func download(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, c)
	if err != nil {
		return err
	}
	fmt.Printf("%d %x\n", n, h.Sum(nil))
	return nil
}

// parallel opens n connections, keeps all of them, and then sends on each.
func parallel(addr, count string) error {
	n, _ := strconv.Atoi(count)
	conns := make([]net.Conn, n)
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			var err error
			if conns[i], err = net.Dial("tcp", addr); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	for i, c := range conns {
		if c == nil {
			break
		}
		wg.Go(func() {
			msg := fmt.Sprintf("connection %d", i)
			if _, err := io.WriteString(c, msg); err != nil {
				errs <- err
				return
			}
			b := make([]byte, len(msg))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != msg {
				errs <- fmt.Errorf("echo of %q: %q, %v", msg, b, err)
			}
			c.Close()
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func udpEcho(addr, size string) error {
	n, _ := strconv.Atoi(size)
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	msg, _ := io.ReadAll(stream(int64(n)))
	b := make([]byte, 1<<16)
	for range 5 {
		if _, err := c.Write(msg); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		k, err := c.Read(b)
		if err != nil {
			continue // UDP may lose it
		}
		if string(b[:k]) != string(msg) {
			return fmt.Errorf("echo of %d bytes: %d other bytes", n, k)
		}
		return nil
	}
	return fmt.Errorf("no echo of %d bytes", n)
}

// udpRefused wants the error that an ICMP message causes.
func udpRefused(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	for range 10 {
		if _, err = c.Write([]byte("x")); err == nil {
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 10))
		}
		if err != nil && !os.IsTimeout(err) {
			fmt.Println(err)
			return nil
		}
	}
	return fmt.Errorf("no error: %v", err)
}

// own opens a flow and keeps it until the file of owners has n lines: only a
// process that is still there has a socket.
func own(transport, addr, file, n string) error {
	c, err := net.Dial(transport, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	want, _ := strconv.Atoi(n)
	for range 12_000 {
		if b, _ := os.ReadFile(file); strings.Count(string(b), "\n") >= want {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("no owner of the %s connection to %s was noted", transport, addr)
}

// udpServer echoes one datagram, after it has told that it stands.
func udpServer(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(b[:n], from)
	return err
}

func ping(addr string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60})
	to := &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(addr).To4())}
	if err := unix.Sendto(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1, 'p', 'i', 'n', 'g'}, 0, to); err != nil {
		return err
	}
	b := make([]byte, 100)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return err
	}
	if n != 12 || b[0] != 0 || string(b[8:n]) != "ping" {
		return fmt.Errorf("answer %x", b[:n])
	}
	return nil
}

func dialOnly(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return err
	}
	return c.Close()
}

// halfClose ends its own direction, and goes on reading.
func halfClose(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	io.WriteString(c, "question")
	c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	fmt.Printf("%s", b)
	return err
}

// dataThenReset prints what came before the connection was reset, and the error.
func dataThenReset(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	fmt.Printf("%d %v\n", len(b), err)
	return nil
}

// serveOnce answers one connection with the address that it came from.
func serveOnce(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	b := make([]byte, 100)
	n, _ := c.Read(b)
	fmt.Fprintf(c, "inside got %s", b[:n])
	return c.Close()
}
