package cdpgw

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"clipper/cdpgw/internal/cdp"
)

// writeOmission shows, as a first row, that the history of s leaves out the
// oldest exchanges, and where they are.
func (c *client) writeOmission(s *session, omitted uint64) error {
	pages := (omitted + uint64(c.g.o.MaxHistory) - 1) / uint64(c.g.o.MaxHistory)
	at := float64(time.Now().UnixMicro()) / 1e6
	url := "http://" + c.g.ln.Addr().String() + "/" + c.g.o.SecretPath + "/?page=" + strconv.FormatUint(pages, 10)
	text := fmt.Sprintf("%d earlier exchanges are not in this list: open this URL, and page=1 to %d, for them", omitted, pages)
	id := "omitted"
	for _, e := range []struct {
		method string
		params any
	}{
		{"Network.requestWillBeSent", cdp.RequestWillBeSent{
			RequestID: id, LoaderID: "clipper", DocumentURL: url, Timestamp: at, WallTime: at, Type: "Other", Initiator: cdp.Initiator{Type: "other"},
			Request: cdp.Request{URL: url, Method: "CLIPPER", Headers: cdp.Headers{}, MixedContentType: "none", InitialPriority: "VeryHigh", ReferrerPolicy: "no-referrer"},
		}},
		{"Network.loadingFailed", cdp.LoadingFailed{RequestID: id, Timestamp: at, Type: "Other", ErrorText: text}},
	} {
		b := append([]byte(`"method":"`+e.method+`","params":`), encode(e.params)...)
		if err := c.message(func(w io.Writer) error { return writeEvent(w, b, s.id) }); err != nil {
			return err
		}
	}
	return nil
}
