package browsertest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"clipper/bus"
	"clipper/cdpgw"
	"clipper/cdpgw/internal/fixture"

	"golang.org/x/image/font/gofont/goregular"
)

// respond feeds an exchange with a body.
func respond(g *cdpgw.Gateway, conn bus.ConnID, url, mime string, body []byte) {
	line := func(e bus.Event) {
		e.Conn, e.Stream, e.Time = conn, 1, fixture.Base
		g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: conn, Event: &e})
	}
	size := uint64(len(body))
	line(bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: bus.Flow{Transport: "tcp"}, Opened: fixture.Base}})
	line(bus.Event{Type: bus.EventRequest, Request: &bus.Request{Method: "GET", URL: url, Proto: "h2"}})
	line(bus.Event{Type: bus.EventEnd, End: &bus.MessageEnd{}})
	line(bus.Event{Type: bus.EventResponse, Response: &bus.Response{Status: 200, Proto: "h2", Headers: []bus.Field{{Name: "content-type", Value: mime}}}})
	g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: conn, Stream: 1, Dir: bus.ServerToClient, Payload: body})
	line(bus.Event{Type: bus.EventData, Dir: bus.ServerToClient, Data: &bus.BodyData{Decoded: size, Wire: size}})
	line(bus.Event{Type: bus.EventEnd, Dir: bus.ServerToClient, End: &bus.MessageEnd{Decoded: size, Wire: size}})
}

// wav is a second of silence.
func wav() []byte {
	const rate = 8000
	b := bytes.NewBufferString("RIFF")
	binary.Write(b, binary.LittleEndian, uint32(36+rate))
	b.WriteString("WAVEfmt ")
	binary.Write(b, binary.LittleEndian, []uint16{16, 0, 1, 1, rate, 0, rate, 0, 1, 8})
	b.WriteString("data")
	binary.Write(b, binary.LittleEndian, uint32(rate))
	b.Write(bytes.Repeat([]byte{128}, rate))
	return b.Bytes()
}

// Fonts are shown in their own letters, sound and video are played.
func TestPreviews(t *testing.T) {
	g := gateway(t, "h2-get")
	respond(g, 901, "https://media.example.test/go.ttf", "font/ttf", goregular.TTF)
	respond(g, 902, "https://media.example.test/silence.wav", "audio/wav", wav())
	respond(g, 903, "https://media.example.test/broken.mp4", "video/mp4", []byte{0, 0, 0, 0xff})
	b := chromium(t)
	b.open(g.Status().URL, 5)
	b.Item("go.ttf", "Preview", "ABCDEFGHIJKLM", "font/ttf")
	b.must(`[...document.fonts].some(f => f.family.includes('WebInspectorFontPreview') && f.status === 'loaded') ||
		clipperTest.every(e => e.classList.contains('font-view') && e.clientWidth > 0).some(e => document.fonts.check('12px ' + getComputedStyle(e).fontFamily))`)
	b.shot("font")
	b.Item("silence.wav", "Preview")
	b.must(`clipperTest.every(e => e.tagName === 'AUDIO' && e.controls).some(e => e.duration === 1)`)
	b.shot("sound")
	b.Item("broken.mp4", "Preview")
	b.must(`clipperTest.every(e => e.tagName === 'VIDEO' && e.controls).some(e => e.error)`)
}
