package har

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

// BodySource gives the bodies of exchanges, decoded for viewing; size is in
// bytes. A body that is not there is empty.
type BodySource interface {
	Body(conn bus.ConnID, stream uint64, dir bus.Dir) (body io.ReadCloser, size uint64, err error)
}

// Options of a Writer.
type Options struct {
	Version string // of the creator
	MaxBody uint64 // bytes of a body in the file; larger ones are left out. 0: no limit
}

// MaxVerdicts is how many verdicts a file lists; log._verdictsTotal counts all
// when there are more.
const MaxVerdicts = 1000

// Target is what a Writer writes to; *os.File is one.
type Target interface {
	io.WriterAt
	Truncate(size int64) error
}

// Writer writes a HAR file an entry at a time. After each call the file is whole
// and valid; memory does not grow with the number of entries.
type Writer struct {
	target   Target
	enc      entryWriter
	at       int64 // where the next entry goes
	entries  int
	verdicts [][]byte       // JSON
	index    map[string]int // of verdicts by connection and name
	more     int            // verdicts that are not listed
	tail     []byte         // what closes the file
	listed   int            // up to where the tail lists verdicts
	size     int64
	buf      *bufio.Writer
	err      error
}

// NewWriter begins an empty file.
func NewWriter(t Target, bodies BodySource, o Options) (*Writer, error) {
	w := &Writer{target: t, enc: entryWriter{bodies: bodies, maxBody: o.MaxBody}, index: map[string]int{}}
	creator, err := json.Marshal(Creator{"Clipper", o.Version})
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("{\"log\":{\"version\":\"1.2\",\"creator\":%s,\"entries\":[", creator)
	if _, err := t.WriteAt([]byte(head), 0); err != nil {
		return nil, fmt.Errorf("write HAR: %w", err)
	}
	w.at, w.buf = int64(len(head)), bufio.NewWriterSize(nil, 64<<10)
	w.makeTail()
	return w, w.finish(0)
}

// Exchange appends an entry.
func (w *Writer) Exchange(x *exchange.Exchange) error {
	if w.err != nil {
		return w.err
	}
	count := &counter{w: io.NewOffsetWriter(w.target, w.at)}
	b := w.buf
	b.Reset(count)
	b.WriteByte('\n')
	if w.entries > 0 {
		b.WriteByte(',') // on this line: Repair sees by the next one that an entry is whole
	}
	var end int64
	if w.err = w.enc.entry(b, x); w.err == nil {
		end = w.at + count.n + int64(b.Buffered())
		b.Write(w.tail) // with the entry, mostly: one system call, and the file is never cut
		w.err = b.Flush()
	}
	w.size = max(w.size, w.at+count.n)
	if w.err != nil {
		w.err = fmt.Errorf("write HAR: %w", w.err)
		_ = w.finish(0) // so that what was written before can be read
		return w.err
	}
	w.at = end
	w.entries++
	return nil
}

// Verdict lists a verdict; a later one of the same connection, or of the same
// look-up on it, replaces it.
func (w *Writer) Verdict(v *exchange.Verdict) error {
	if w.err != nil {
		return w.err
	}
	h := NewVerdict(v)
	var text []byte
	if text, w.err = json.Marshal(h); w.err != nil {
		return w.err
	}
	from := w.listed
	key := h.Connection + h.Name
	if i, ok := w.index[key]; ok {
		from, w.verdicts[i] = 0, text
	} else if len(w.verdicts) < MaxVerdicts {
		w.index[key] = len(w.verdicts)
		w.verdicts = append(w.verdicts, text)
	} else {
		w.more++
	}
	w.makeTail()
	w.err = w.finish(from)
	return w.err
}

func (w *Writer) makeTail() {
	w.tail = append(w.tail[:0], "\n],\"_verdicts\":["...)
	for i, text := range w.verdicts {
		if i > 0 {
			w.tail = append(w.tail, ',')
		}
		w.tail = append(w.tail, text...)
	}
	w.listed = len(w.tail)
	w.tail = append(w.tail, ']')
	if w.more > 0 {
		w.tail = fmt.Appendf(w.tail, ",\"_verdictsTotal\":%d", len(w.verdicts)+w.more)
	}
	w.tail = append(w.tail, "}}\n"...)
}

// finish writes what closes the file behind the last entry; of the tail, what
// stands before from is there.
func (w *Writer) finish(from int) error {
	if _, err := w.target.WriteAt(w.tail[from:], w.at+int64(from)); err != nil {
		return fmt.Errorf("write HAR: %w", err)
	}
	size := w.at + int64(len(w.tail))
	if size < w.size {
		if err := w.target.Truncate(size); err != nil {
			return fmt.Errorf("write HAR: %w", err)
		}
	}
	w.size = size
	return nil
}

// LineWriter writes entries as lines of JSON, each at once.
type LineWriter struct {
	target counter // of whole lines
	enc    entryWriter
	buf    *bufio.Writer
}

// NewLineWriter writes nothing yet.
func NewLineWriter(w io.Writer, bodies BodySource, o Options) *LineWriter {
	return &LineWriter{counter{w: w}, entryWriter{bodies: bodies, maxBody: o.MaxBody}, bufio.NewWriterSize(nil, 64<<10)}
}

// Exchange writes the entry of x as one line. One that cannot be written whole is
// taken away again, if the target can be cut.
func (w *LineWriter) Exchange(x *exchange.Exchange) error {
	whole := w.target.n
	w.buf.Reset(&w.target)
	err := w.enc.entry(w.buf, x)
	if err == nil {
		w.buf.WriteByte('\n')
		err = w.buf.Flush()
	}
	if t, ok := w.target.w.(interface{ Truncate(int64) error }); ok && err != nil && w.target.n > whole {
		err = errors.Join(err, t.Truncate(whole))
	}
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// entryWriter writes entries without line breaks.
type entryWriter struct {
	bodies  BodySource
	maxBody uint64
	certs   certificates
	line    bytes.Buffer
	scratch [32 << 10]byte // for pieces of bodies
}

// maxLine is how much of the memory for an entry is kept for the next.
const maxLine = 256 << 10

func (l *entryWriter) entry(w *bufio.Writer, x *exchange.Exchange) error {
	e := newEntry(x, &l.certs)
	if p := e.Request.PostData; p != nil {
		if err := l.postData(e, x); err != nil {
			return err
		}
	}
	if err := l.content(e, x); err != nil {
		return err
	}
	if l.line.Cap() > maxLine {
		l.line = bytes.Buffer{}
	}
	l.line.Reset()
	enc := json.NewEncoder(&l.line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return err
	}
	rest := bytes.TrimSuffix(l.line.Bytes(), []byte("\n"))
	if e.Request.PostData != nil && string(e.Request.PostData.Text) == postMark {
		var before []byte
		before, rest, _ = bytes.Cut(rest, []byte(postMark))
		w.Write(before)
		if err := l.write(w, x, bus.ClientToServer, e.Request.PostData.Encoding); err != nil {
			return err
		}
	}
	if string(e.Response.Content.Text) == contentMark {
		var before []byte
		before, rest, _ = bytes.Cut(rest, []byte(contentMark))
		w.Write(before)
		if err := l.write(w, x, bus.ServerToClient, e.Response.Content.Encoding); err != nil {
			return err
		}
	}
	_, err := w.Write(rest)
	return err
}

// maxForm is up to what size a form is also listed by its parameters.
const maxForm = 256 << 10

// maxValue is up to what size a part of a form is also a parameter's value.
const maxValue = 4 << 10

func (l *entryWriter) postData(e *Entry, x *exchange.Exchange) error {
	p := e.Request.PostData
	p.Text = json.RawMessage(`""`)
	size, encoding, err := l.inspect(e, x, bus.ClientToServer)
	if err != nil || size == 0 {
		return err
	}
	p.Text, p.Encoding = json.RawMessage(postMark), encoding
	form := encoding == "" && strings.HasPrefix(strings.ToLower(p.MimeType), "application/x-www-form-urlencoded")
	var parts []bus.Part
	if end := x.RequestEnd; end != nil && end.Content != nil {
		parts = end.Content.Parts
	}
	if size > maxForm || !form && parts == nil {
		return nil
	}
	body, _, err := l.bodies.Body(x.Conn, x.Stream, bus.ClientToServer)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if form {
		for _, v := range pairs(string(b)) {
			p.Params = append(p.Params, Param{Name: v.Name, Value: v.Value})
		}
	}
	for _, v := range parts {
		f := Param{Name: v.Name, FileName: v.FileName, ContentType: v.ContentType, Size: v.Size}
		if v.FileName == "" && v.Size <= maxValue && v.Offset+v.Size <= uint64(len(b)) && utf8.Valid(b[v.Offset:v.Offset+v.Size]) {
			f.Value = string(b[v.Offset : v.Offset+v.Size])
		}
		p.Params = append(p.Params, f)
	}
	return nil
}

func (l *entryWriter) content(e *Entry, x *exchange.Exchange) error {
	size, encoding, err := l.inspect(e, x, bus.ServerToClient)
	if err != nil || size == 0 {
		return err
	}
	e.Response.Content.Text, e.Response.Content.Encoding = json.RawMessage(contentMark), encoding
	return nil
}

// inspect finds the size of a body to be written and how to write it.
func (l *entryWriter) inspect(e *Entry, x *exchange.Exchange, dir bus.Dir) (size uint64, encoding string, err error) {
	if l.bodies == nil || x.Decoded[dir] == 0 {
		return 0, "", nil
	}
	body, size, err := l.bodies.Body(x.Conn, x.Stream, dir)
	if err != nil || size == 0 {
		return 0, "", err
	}
	defer body.Close()
	if l.maxBody > 0 && size > l.maxBody {
		e.problem("", "a body is larger than the limit and is left out")
		return 0, "", nil
	}
	text, err := isText(body, l.scratch[:])
	if !text {
		encoding = "base64"
	}
	return size, encoding, err
}

func (l *entryWriter) write(w *bufio.Writer, x *exchange.Exchange, dir bus.Dir, encoding string) error {
	body, _, err := l.bodies.Body(x.Conn, x.Stream, dir)
	if err != nil {
		return err
	}
	defer body.Close()
	if encoding == "base64" {
		return writeBase64(w, body, l.scratch[:])
	}
	return writeText(w, body, l.scratch[:])
}
