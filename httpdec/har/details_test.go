package har_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/bus/lookup"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
)

// sent gives every exchange the same request body.
type sent string

func (s sent) Body(_ bus.ConnID, _ uint64, dir bus.Dir) (io.ReadCloser, uint64, error) {
	if dir == bus.ServerToClient {
		s = ""
	}
	return io.NopCloser(strings.NewReader(string(s))), uint64(len(s)), nil
}

// TestDetails writes what is beside HAR 1.2, and the parts of a form.
func TestDetails(t *testing.T) {
	body := sent("--b\r\nContent-Disposition: form-data; name=a\r\n\r\none\r\n--b--\r\n")
	x := answered(1, 0)
	x.Conn = 0x2a
	x.Request.Headers = []bus.Field{{Name: "Content-Type", Value: "multipart/form-data; boundary=b"}}
	x.Wire[0], x.Decoded[0] = uint64(len(body)), uint64(len(body))
	x.RequestEnd = &bus.MessageEnd{Content: &bus.Content{Kind: "multipart", PartCount: 2, Parts: []bus.Part{
		{Name: "a", Offset: uint64(strings.Index(string(body), "one")), Size: 3},
		{Name: "f", FileName: "f.bin", ContentType: "image/png", Offset: 1 << 40, Size: 7}}}}
	x.Losses = bus.Losses{Resent: 2, Lost: 5}
	x.First = true
	x.Connection = bus.Connection{Opened: start, Established: start, Flow: bus.Flow{Server: netip.MustParseAddrPort("[2001:db8::1]:80"), Client: netip.MustParseAddrPort("[2001:db8::2]:4000")}}
	x.Lookup = &lookup.Lookup{Name: "a.test", Asked: start - 3e6, Answered: start - 1e6, Own: true, Queries: []*bus.DNS{
		{Name: "a.test", Type: "AAAA", Transport: "udp", Server: netip.MustParseAddrPort("10.0.2.3:53"), Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}}}
	g := answered(2, 0)
	g.RequestEnd = &bus.MessageEnd{Content: &bus.Content{Kind: "graphql", Operation: "GetUser", OperationType: "query"}}
	g.Messages, g.MessageCount = []exchange.Message{{Time: start, Dir: 1, Message: &bus.Message{Kind: "grpc", Type: "a.B", Text: "{}", Binary: []byte{1}}}}, 1
	name := filepath.Join(t.TempDir(), "x.har")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := har.NewWriter(f, body, har.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*exchange.Exchange{x, g} {
		if err := w.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	har.Valid(t, file)
	if problems := har.Check(file); len(problems) > 0 {
		t.Errorf("not valid HAR:\n%s", strings.Join(problems, "\n"))
	}
	var one bytes.Buffer
	if err := json.Compact(&one, file); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"params":[{"name":"a","value":"one","_size":3},{"name":"f","fileName":"f.bin","contentType":"image/png","_size":7}]`,
		`"_lookup":{"name":"a.test","started":"2023-11-14T22:13:19.997000Z","time":2,"transport":"udp","server":"10.0.2.3:53","addresses":["2001:db8::1"]}`,
		`"_retransmits":2,"_lostBytes":5`, `"blocked":1,"dns":2,"connect":0,`,
		`"_graphql":{"operation":"GetUser","type":"query"}`, `"data":"{}","_kind":"grpc","_messageType":"a.B"`,
	} {
		if !strings.Contains(one.String(), want) {
			t.Errorf("no %s in\n%s", want, one.String())
		}
	}
}
