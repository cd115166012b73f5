package redact

import (
	"io"
	"strings"

	"clipper/bus"
	"clipper/httpdec/har"
)

// MaxBody is how large a body may be to be redacted, in bytes; what is larger is
// left out, since a credential could lie across any cut.
const MaxBody = 16 << 20

// leftOut stands for a body that is too large.
const leftOut = "(left out by --redact: the body is larger than 16 MiB)"

// Bodies gives the bodies of src without credentials.
func (r *Redactor) Bodies(src har.BodySource) har.BodySource { return bodies{r, src} }

type bodies struct {
	r   *Redactor
	src har.BodySource
}

func (b bodies) Body(conn bus.ConnID, stream uint64, dir bus.Dir) (io.ReadCloser, uint64, error) {
	body, size, err := b.src.Body(conn, stream, dir)
	if err != nil || size == 0 {
		return body, size, err
	}
	defer body.Close()
	text := leftOut
	if size <= MaxBody {
		all, err := io.ReadAll(body)
		if err != nil {
			return nil, 0, err
		}
		text = b.r.body(string(all))
	}
	return io.NopCloser(strings.NewReader(text)), uint64(len(text)), nil
}
