package grpcview

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
)

const source = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "item.proto";
service Orders { rpc Place(Order) returns (Receipt); }
message Order { string customer = 1; repeated Item items = 2; repeated int32 codes = 3; google.protobuf.Timestamp at = 4; map<string, int64> counts = 5; }
message Receipt { Status status = 1; oneof id { uint64 number = 2; bytes token = 3; } }
enum Status { UNKNOWN = 0; ACCEPTED = 1; }
`

const item = `syntax = "proto3"; package shop; message Item { string name = 1; double price = 2; }`

func schema(t testing.TB) (*Schema, []byte) {
	dir := t.TempDir()
	for name, text := range map[string]string{"orders.proto": source, "item.proto": item} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := Compile([]string{filepath.Join(dir, "orders.proto"), filepath.Join(dir, "item.proto")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	return s, set
}

const order = "\x0a\x03Eva\x12\x0e\x0a\x03tea\x11\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x03\x01\x96\x01\x22\x02\x08\x01\x2a\x05\x0a\x01a\x10\x07"

func TestText(t *testing.T) {
	s, set := schema(t)
	file := filepath.Join(t.TempDir(), "set.binpb")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Compile([]string{file})
	if err != nil || string(again) != string(set) {
		t.Errorf("the descriptor set, read again: %d bytes for %d, %v", len(again), len(set), err)
	}
	for _, c := range []struct {
		path string
		dir  bus.Dir
		in   string
		want string
	}{
		{"/shop.Orders/Place", 0, order, `shop.Order {"customer":"Eva","items":[{"name":"tea","price":1.5}],"codes":[1,150],"at":"1970-01-01T00:00:01Z","counts":{"a":"7"}}`},
		{"/shop.Orders/Place", 1, "\x08\x01\x10\x05", `shop.Receipt {"status":"ACCEPTED","number":"5"}`},
		{"/api/shop.Orders/Place?x=y", 1, "", `shop.Receipt {}`},
		{"/shop.Orders/Place", 1, "\x08\x01\x7a\x02hi", "shop.Receipt {\"status\":\"ACCEPTED\"}//fieldsthattheschemadoesnothave:15:\"hi\""},
		{"/shop.Orders/Place", 1, "\x08", "shop.Receipt not a shop.Receipt"},
		{"/shop.Orders/Other", 1, "", " the schema has no such method"},
		{"/shop.Order/Place", 1, "", " the schema has no such method"},
		{"shop", 1, "", " the schema has no such method"},
	} {
		text, name, err := s.Text(c.path, c.dir, []byte(c.in))
		got := name + " " + strings.NewReplacer(" ", "", "\n", "").Replace(text)
		if err != nil {
			got = name + " " + err.Error()
		}
		if !strings.HasPrefix(got, c.want) || err == nil && got != c.want {
			t.Errorf("%s %d: %s\nwant %s", c.path, c.dir, got, c.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.proto"):                      "no such file",
		filepath.Join(dir, "none"):                            "no such file",
		write("bad.proto", "syntax = \"proto3\";\nmessage"):   "bad.proto:2:",
		write("text", "not a set"):                            "neither a .proto file nor a descriptor set",
		write("lone", "\x0a\x10\x0a\x05a.foo\x1a\x07b.proto"): "include_imports",
	} {
		if _, err := Compile([]string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func FuzzText(f *testing.F) {
	s, _ := schema(f)
	f.Add([]byte(order))
	f.Fuzz(func(t *testing.T, b []byte) {
		s.Text("/shop.Orders/Place", 0, b)
	})
}
