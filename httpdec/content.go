package httpdec

import (
	"net/url"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/graphql"
	"clipper/httpdec/internal/protobuf"
	"clipper/httpdec/internal/snapshot"
)

// MaxContent is how many bytes of a body are kept to tell what it is.
const MaxContent = 64 << 10

var (
	contentJSON = &bus.Content{Kind: "json"}
	contentForm = &bus.Content{Kind: "form"}
)

// split looks for messages and parts in content of some types.
func (b *body) split(contentType string, fields []bus.Field) {
	t := mediaType(contentType)
	switch {
	case t == "application/json", strings.HasSuffix(t, "+json") && !strings.HasPrefix(t, "application/grpc") && !strings.HasPrefix(t, "application/connect"):
		b.kind = contentJSON
		if b.dir == bus.ClientToServer {
			b.content = &wholeContent{body: b, as: asGraphQL}
		}
	case t == "application/graphql":
		if b.dir == bus.ClientToServer {
			b.content = &wholeContent{body: b, as: asQuery}
		}
	case t == "application/x-www-form-urlencoded":
		b.kind = contentForm
	case strings.HasPrefix(t, "multipart/"):
		if m := newMultipart(contentType); m != nil {
			b.content = m
		}
	case t == "text/event-stream":
		if b.dir == bus.ServerToClient {
			b.content = &eventStream{c: b.c, stream: b.stream}
		}
	case t == "application/dns-message":
		if b.dir == bus.ServerToClient {
			b.content = &wholeContent{body: b, as: asDNS}
		}
	case t == "application/proto", t == "application/protobuf", t == "application/x-protobuf":
		b.content = &wholeContent{body: b, as: asProtobuf}
	case strings.HasPrefix(t, "application/grpc"), strings.HasPrefix(t, "application/connect"):
		if e := newEnvelopes(b, t, fields); e != nil {
			b.content = e
		}
	}
}

// query looks for a GraphQL query in the target of a request without content.
func (b *body) query(target string) {
	_, query, found := strings.Cut(target, "?")
	if !found || !strings.Contains(query, "query=") || len(query) > MaxContent {
		return
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return
	}
	if o, ok := graphql.Query(values.Get("query"), values.Get("operationName")); ok {
		b.kind = graphQL(o)
	}
}

func graphQL(o graphql.Operation) *bus.Content {
	return &bus.Content{Kind: "graphql", Operation: o.Name, OperationType: o.Type}
}

// wholeContent keeps the beginning of content that is looked at when it ends.
type wholeContent struct {
	*body
	as   contentUse
	data []byte
	size uint64
}

// contentUse is what the content is taken for.
type contentUse uint8

const (
	asGraphQL contentUse = iota
	asQuery
	asProtobuf
	asDNS
)

func (w *wholeContent) write(p []byte, _ int64) {
	w.size += uint64(len(p))
	if n := min(len(p), MaxContent-len(w.data)); n > 0 {
		w.data = append(w.data, p[:n]...)
	}
}

func (w *wholeContent) end(t int64) *bus.Content {
	cut := w.size > uint64(len(w.data))
	switch w.as {
	case asGraphQL:
		if o, ok := graphql.Request(w.data); ok {
			return graphQL(o)
		}
	case asQuery:
		if o, ok := graphql.Query(string(w.data), ""); ok {
			return graphQL(o)
		}
	case asProtobuf:
		if w.size > 0 {
			m := &bus.Message{Kind: "grpc", Size: w.size, Cut: cut}
			w.body.c.s.protobuf(m, w.target, w.dir, w.data)
			w.body.c.message(w.stream, w.dir, t, m)
		}
	case asDNS:
		w.body.dnsAnswer(w.data, t)
	}
	return nil
}

func (w *wholeContent) snapshot(s *snapshot.State) {
	snapshot.Index(s, &w.as, int(asDNS))
	snapshot.Bytes(s, &w.data, MaxContent)
	snapshot.Int(s, &w.size)
}

// protobuf fills in the forms of a message: its bytes, and a text.
func (s *stage) protobuf(m *bus.Message, target string, dir bus.Dir, b []byte) {
	m.Binary = append([]byte(nil), b...)
	if s.schema != nil && !m.Cut {
		text, name, err := s.schema.Text(target, dir, b)
		if err == nil {
			m.Text, m.Type = text, name
			return
		}
		if name != "" && m.Problem == "" {
			m.Problem = err.Error()
		}
	}
	m.Text = protobuf.Text(b)
}
