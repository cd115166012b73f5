package httpdec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"clipper/bus"
	"clipper/httpdec/grpcview"
)

const echoProto = `syntax = "proto3"; package test;
import "google/protobuf/wrappers.proto";
service Echo {
  rpc Unary(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Both(stream google.protobuf.StringValue) returns (stream google.protobuf.StringValue);
  rpc Fail(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Never(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}`

// echoService is what a compiler would make of echoProto.
// Never says that it was reached, and waits.
func echoService(reached chan<- struct{}, never <-chan struct{}) *grpc.ServiceDesc {
	unary := func(name string, f func(context.Context, string) (string, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.StringValue{}
			if err := decode(in); err != nil {
				return nil, err
			}
			out, err := f(ctx, in.Value)
			return wrapperspb.String(out), err
		}}
	}
	return &grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Unary", func(ctx context.Context, s string) (string, error) {
				grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t"))
				return "echo " + s, nil
			}),
			unary("Fail", func(context.Context, string) (string, error) { return "", status.Error(codes.NotFound, "not here") }),
			unary("Never", func(ctx context.Context, _ string) (string, error) {
				close(reached)
				<-never
				return "", ctx.Err()
			}),
		},
		Streams: []grpc.StreamDesc{{StreamName: "Both", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				in := &wrapperspb.StringValue{}
				if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(wrapperspb.String("echo " + in.Value)); err != nil {
					return err
				}
			}
		}}},
	}
}

// TestGRPCPair decodes the conversation of a gRPC client and its server: unary,
// streaming, compressed, failed and given up by the client.
func TestGRPCPair(t *testing.T) {
	reached, never := make(chan struct{}), make(chan struct{})
	srv := grpc.NewServer()
	srv.RegisterService(echoService(reached, never), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	r := &recorder{}
	c, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) { return r.dial("tcp", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	call := func(ctx context.Context, method, text string, o ...grpc.CallOption) error {
		out := &wrapperspb.StringValue{}
		return c.Invoke(ctx, "/test.Echo/"+method, wrapperspb.String(text), out, o...)
	}
	long := strings.Repeat("compressible ", 1000)
	if err := errors.Join(call(ctx, "Unary", "one"), call(ctx, "Unary", long, grpc.UseCompressor(gzip.Name))); err != nil {
		t.Fatal(err)
	}
	if err := call(ctx, "Fail", "x"); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, time.Hour)
	go func() {
		<-reached
		cancel()
	}()
	if err := call(limited, "Never", "given up"); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Both")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		out := &wrapperspb.StringValue{}
		if err := errors.Join(s.SendMsg(wrapperspb.String(fmt.Sprint("part ", i))), s.RecvMsg(out)); err != nil {
			t.Fatal(err)
		}
	}
	s.CloseSend()
	if err := s.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	close(never)
	c.Close()
	srv.Stop()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "echo.proto"), []byte(echoProto), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := grpcview.Compile([]string{filepath.Join(dir, "echo.proto")})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := grpcview.New(set)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[uint64][]string{}
	d := NewWith(Options{Schema: schema})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.records {
		d.Process(&r.records[i], func(rec *bus.Record) {
			e, ok := rec.Event.(*bus.Event)
			if !ok {
				return
			}
			add := func(format string, args ...any) {
				calls[e.Stream] = append(calls[e.Stream], fmt.Sprintf(format, args...))
			}
			switch {
			case e.Request != nil:
				add("%s", e.Request.Target)
				if hasField(e.Request.Headers, "grpc-timeout") {
					add("with a deadline")
				}
			case e.Message != nil:
				if e.Message.Problem != "" || e.Message.Type != "google.protobuf.StringValue" {
					t.Errorf("message %+v", *e.Message)
				}
				add("%d %.30s", e.Dir, e.Message.Text)
			case e.End != nil && e.Dir == bus.ServerToClient:
				for _, f := range e.End.Trailers {
					if f.Name != "grpc-status-details-bin" {
						add("%s=%s", f.Name, f.Value)
					}
				}
			case e.Failure != nil:
				add("%s", e.Failure.Code)
			}
		})
	}
	var got []string
	for _, c := range calls {
		got = append(got, strings.Join(c, ", "))
	}
	slices.Sort(got)
	want := []string{
		`/test.Echo/Both, 0 "part 0", 1 "echo part 0", 0 "part 1", 1 "echo part 1", 0 "part 2", 1 "echo part 2", grpc-status=0, grpc-message=`,
		`/test.Echo/Fail, 0 "x"`,
		`/test.Echo/Never, with a deadline, 0 "given up", stream-reset-by-client`,
		`/test.Echo/Unary, 0 "compressible compressible com, 1 "echo compressible compressibl, grpc-status=0, grpc-message=, x-trailer=t`,
		`/test.Echo/Unary, 0 "one", 1 "echo one", grpc-status=0, grpc-message=, x-trailer=t`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
