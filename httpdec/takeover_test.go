package httpdec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"clipper/bus"
)

// TestWebSocketTakeover has messages refer to those before them, or not, as a
// client and a server agree.
func TestWebSocketTakeover(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		t.Run(fmt.Sprint("mode ", mode), func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
				if err != nil {
					return
				}
				for {
					kind, b, err := c.Read(r.Context())
					if err != nil {
						return
					}
					if c.Write(r.Context(), kind, append([]byte("echo "), b...)) != nil {
						return
					}
				}
			}))
			defer srv.Close()
			r := &recorder{}
			dial := func(_ context.Context, network, addr string) (net.Conn, error) { return r.dial(network, addr) }
			c, resp, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1,
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}}})
			if err != nil {
				t.Fatal(err)
			}
			if extensions := resp.Header.Get("Sec-WebSocket-Extensions"); strings.Contains(extensions, "no_context_takeover") != (mode == websocket.CompressionNoContextTakeover) {
				t.Errorf("agreed on %q", extensions)
			}
			var want []string
			sent := 0
			for i := range 30 {
				text := strings.Repeat("the same words again and again ", 20) + fmt.Sprint(i)
				sent += len(text)
				err := c.Write(t.Context(), websocket.MessageText, []byte(text))
				_, b, readErr := c.Read(t.Context())
				if err := errors.Join(err, readErr); err != nil || string(b) != "echo "+text {
					t.Fatalf("%q %v", b, err)
				}
				want = append(want, "0 "+text, "1 echo "+text)
			}
			c.Close(websocket.StatusNormalClosure, "")
			c.CloseNow()
			var got []string
			wire := uint64(0)
			s := New()
			r.mu.Lock()
			defer r.mu.Unlock()
			for i := range r.records {
				s.Process(&r.records[i], func(rec *bus.Record) {
					e, ok := rec.Event.(*bus.Event)
					switch {
					case ok && e.Message != nil && e.Message.Opcode == 1:
						got = append(got, fmt.Sprint(e.Dir, " ", e.Message.Text, e.Message.Problem))
					case ok && e.End != nil && e.Dir == bus.ClientToServer:
						wire = e.End.Wire
					}
				})
			}
			if !slices.Equal(got, want) {
				t.Error(firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
			if wire == 0 || wire > uint64(sent)/3 {
				t.Errorf("%d bytes of frames for %d bytes of text", wire, sent)
			}
		})
	}
}
