package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// readMemory has `clipper read` decode captures that come through a pipe, and tells
// the most memory that it had: one of size bytes with conns connections at once,
// and one with many that never end and whose secrets nobody knows.
func readMemory(bin string, size int64, conns int) error {
	dir, err := os.MkdirTemp("", "clipper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keys := filepath.Join(dir, "keys.log")
	f, err := os.OpenFile(keys, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	all, err := pairs(conns, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Printf("\n%d TLS connections at once, %d MiB in all\n", conns, size>>20)
	if err := piped(bin, []string{"--keylog", keys}, conns, func(c *capture) error { return interleaved(c, all, size) }); err != nil {
		return err
	}
	unfinished := 30 * conns
	fmt.Printf("\n%d TLS connections that never end, as many secrets that match nothing\n", unfinished)
	if f, err = os.OpenFile(keys, os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	for i := range unfinished {
		if _, err = fmt.Fprintf(f, "CLIENT_TRAFFIC_SECRET_0 %064x %064x\n", i, i); err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return piped(bin, []string{"--keylog", keys}, 0, func(c *capture) error { return endless(c, all[0], unfinished) })
}

// interleaved has all connections open at once, with one response each, a
// record at a time in turn.
func interleaved(c *capture, all []*tlsPair, size int64) error {
	const record = 16 << 10
	rounds := max(int(size/record)/len(all), 1)
	talks := make([]*conversation, len(all))
	say := func(i int) error {
		for _, f := range all[i].take() {
			if err := talks[i].send(f.from, f.data); err != nil {
				return err
			}
		}
		return nil
	}
	body := make([]byte, record)
	for i, p := range all {
		talks[i] = c.conversation(i)
		if err := talks[i].open(); err != nil {
			return err
		}
		p.wire.said = p.handshake
		fmt.Fprintf(p.client, "GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i)
		fmt.Fprintf(p.server, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", rounds*record)
		if err := say(i); err != nil {
			return err
		}
	}
	for range rounds {
		for i, p := range all {
			if _, err := p.server.Write(body); err != nil {
				return err
			}
			if err := say(i); err != nil {
				return err
			}
		}
	}
	for _, t := range talks {
		if err := t.close(); err != nil {
			return err
		}
	}
	return nil
}

// endless opens connections that get stuck after the handshake, each with a
// client random of its own.
func endless(c *capture, p *tlsPair, n int) error {
	const random = 5 + 4 + 2 // in the record of the ClientHello
	for i := range n {
		binary.BigEndian.PutUint32(p.handshake[0].data[random:], uint32(i))
		t := c.conversation(i)
		if err := t.open(); err != nil {
			return err
		}
		for _, f := range p.handshake {
			if err := t.send(f.from, f.data); err != nil {
				return err
			}
		}
	}
	return nil
}

// piped runs `clipper read -` on what write writes and says what it took.
func piped(bin string, args []string, exchanges int, write func(*capture) error) error {
	cmd := exec.Command(bin, append(append([]string{"read"}, args...), "-")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	// Not the maximum of rusage: that counts this process, before the exec.
	used, ended, looked := map[string]usage{}, make(chan bool), make(chan bool)
	go func() {
		defer close(looked)
		for {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
				look(cmd.Process.Pid, "read", used)
			}
		}
	}()
	c, err := newCapture(in)
	if err == nil {
		err = write(c)
	}
	if err == nil {
		err = c.w.Flush()
	}
	in.Close()
	err = errors.Join(err, cmd.Wait())
	close(ended)
	<-looked
	if err != nil {
		return fmt.Errorf("%v: %w\n%.1000s", cmd.Args, err, out.String())
	}
	if n := strings.Count("\n"+out.String(), "\n200 "); n < exchanges {
		return fmt.Errorf("clipper gives %d exchanges, want %d", n, exchanges)
	}
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	fmt.Printf("  read %d MiB in %.2f CPU s, %.0f MB/CPU s; at most %d MiB of memory\n", c.n>>20, cpu, float64(c.n)/1e6/cpu, used["read"].peak>>10)
	return nil
}
