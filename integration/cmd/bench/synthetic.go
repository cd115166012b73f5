package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"clipper/integration/truth"
)

// capture writes a pcap of packets that nobody sent.
type capture struct {
	w    *bufio.Writer
	now  int64
	n    int64 // bytes written
	head []byte
}

func newCapture(w io.Writer) (*capture, error) {
	c := &capture{w: bufio.NewWriterSize(w, 1<<20), now: time.Now().UnixNano(), head: make([]byte, 0, 64)}
	const nanoseconds, linkRaw = 0xa1b23c4d, 101
	h := binary.LittleEndian.AppendUint32(nil, nanoseconds)
	h = append(h, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	h = binary.LittleEndian.AppendUint32(h, 1<<18)
	h = binary.LittleEndian.AppendUint32(h, linkRaw)
	_, err := c.w.Write(h)
	return c, err
}

// Flags of TCP.
const (
	fin, syn, ack = 1, 2, 16
)

// packet writes one TCP segment.
func (c *capture) packet(src, dst netAddr, seq, acked uint32, flags byte, payload []byte) error {
	const headers = 40
	c.now += 1000
	n := uint32(headers + len(payload))
	b := binary.LittleEndian.AppendUint32(c.head[:0], uint32(c.now/1e9))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.now%1e9))
	b = binary.LittleEndian.AppendUint32(b, n)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0, 0x40, 0, 64, 6, 0, 0)
	b = append(append(b, src.ip[:]...), dst.ip[:]...)
	b = binary.BigEndian.AppendUint16(b, src.port)
	b = binary.BigEndian.AppendUint16(b, dst.port)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, acked)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	c.n += int64(len(b) + len(payload))
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	_, err := c.w.Write(payload)
	return err
}

type netAddr struct {
	ip   [4]byte
	port uint16
}

// conversation is a TCP connection in a capture.
type conversation struct {
	c    *capture
	end  [2]netAddr // client, server
	sent [2]uint32
}

func (c *capture) conversation(number int) *conversation {
	return &conversation{c: c, end: [2]netAddr{
		{[4]byte{10, byte(number >> 24), byte(number >> 16), byte(number >> 8)}, uint16(10000 + number&0xff)},
		{[4]byte{192, 0, 2, 1}, 443},
	}}
}

func (t *conversation) open() error {
	for i := range 2 {
		flags := byte(syn)
		if i == 1 {
			flags |= ack
		}
		if err := t.c.packet(t.end[i], t.end[1-i], 0, t.sent[1-i], flags, nil); err != nil {
			return err
		}
		t.sent[i] = 1
	}
	return nil
}

// send is payload from one end, which the other acknowledges.
func (t *conversation) send(i int, payload []byte) error {
	const segment = 1448
	for len(payload) > 0 {
		part := payload[:min(len(payload), segment)]
		payload = payload[len(part):]
		if err := t.c.packet(t.end[i], t.end[1-i], t.sent[i], t.sent[1-i], ack, part); err != nil {
			return err
		}
		t.sent[i] += uint32(len(part))
	}
	return t.c.packet(t.end[1-i], t.end[i], t.sent[1-i], t.sent[i], ack, nil)
}

func (t *conversation) close() error {
	for i := range 2 {
		if err := t.c.packet(t.end[i], t.end[1-i], t.sent[i], t.sent[1-i], fin|ack, nil); err != nil {
			return err
		}
		t.sent[i]++
	}
	return nil
}

// tlsPair is a TLS connection in memory: what each end writes comes out of said.
type tlsPair struct {
	server    *tls.Conn
	client    *tls.Conn
	handshake []flight
	wire      *wire
}

type flight struct {
	from int
	data []byte
}

// wire joins the two ends. It keeps what they write until taken.
type wire struct {
	mu      sync.Mutex
	changed sync.Cond
	inbox   [2]bytes.Buffer
	said    []flight
	deaf    bool // nobody reads any more
}

type wireEnd struct {
	*wire
	i int
}

func (e wireEnd) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, flight{e.i, bytes.Clone(b)})
	if !e.deaf {
		e.inbox[1-e.i].Write(b)
	}
	e.changed.Broadcast()
	return len(b), nil
}

func (e wireEnd) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.inbox[e.i].Len() == 0 {
		e.changed.Wait()
	}
	return e.inbox[e.i].Read(b)
}

func (wireEnd) Close() error                     { return nil }
func (wireEnd) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (wireEnd) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (wireEnd) SetDeadline(time.Time) error      { return nil }
func (wireEnd) SetReadDeadline(time.Time) error  { return nil }
func (wireEnd) SetWriteDeadline(time.Time) error { return nil }

// pairs makes TLS 1.3 connections whose secrets go to keyLog.
func pairs(n int, keyLog io.Writer) ([]*tlsPair, error) {
	cert, ca, _, err := truth.Certificate()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	client := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13, KeyLogWriter: keyLog}
	all := make([]*tlsPair, n)
	for i := range all {
		w := &wire{}
		w.changed.L = &w.mu
		p := &tlsPair{wire: w, client: tls.Client(wireEnd{w, 0}, client), server: tls.Server(wireEnd{w, 1}, server)}
		done := make(chan error, 1)
		go func() { done <- p.server.Handshake() }()
		if err := p.client.Handshake(); err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
		if err := <-done; err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
		w.deaf = true
		w.inbox = [2]bytes.Buffer{}
		p.handshake = p.take()
		all[i] = p
	}
	return all, nil
}

// take is what was written since the last call.
func (p *tlsPair) take() []flight {
	f := p.wire.said
	p.wire.said = nil
	return f
}
