// Package grpcview shows Protocol Buffers messages by the names of their schema:
// what flows in are .proto files or descriptor sets, and the bytes of messages of
// gRPC calls; what flows out is JSON.
package grpcview

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"clipper/bus"
	"clipper/httpdec/internal/protobuf"
)

// Compile reads files and returns their descriptors with all that they import, as
// a serialized google.protobuf.FileDescriptorSet. A name that ends in .proto is
// source, which may import what stands beside it, below the working directory, and
// google/protobuf; any other file is a descriptor set (protoc --include_imports -o).
func Compile(files []string) ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, name := range files {
		var list []*descriptorpb.FileDescriptorProto
		var err error
		if strings.HasSuffix(name, ".proto") {
			list, err = compile(name)
		} else {
			list, err = readSet(name)
		}
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			known := func(k *descriptorpb.FileDescriptorProto) bool { return k.GetName() == f.GetName() }
			if !slices.ContainsFunc(set.File, known) {
				set.File = append(set.File, f)
			}
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err == nil {
		_, err = New(b)
	}
	return b, err
}

// compile compiles one source file.
func compile(name string) ([]*descriptorpb.FileDescriptorProto, error) {
	if _, err := os.Stat(name); err != nil {
		return nil, err
	}
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(name), "."}})}
	compiled, err := c.Compile(context.Background(), filepath.Base(name))
	if err != nil {
		return nil, err
	}
	var list []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		list = append(list, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range compiled {
		add(f)
	}
	return list, nil
}

func readSet(name string) ([]*descriptorpb.FileDescriptorProto, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(b, set); err != nil || len(set.File) == 0 {
		return nil, fmt.Errorf("%s is neither a .proto file nor a descriptor set (protoc --include_imports -o FILE)", name)
	}
	return set.File, nil
}

// Schema knows the services of a descriptor set. It is safe for concurrent use.
type Schema struct {
	files *protoregistry.Files
	types *dynamicpb.Types
}

// New makes a schema of what Compile gave.
func New(set []byte) (*Schema, error) {
	s := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(set, s); err != nil {
		return nil, fmt.Errorf("descriptor set: %w", err)
	}
	files, err := protodesc.NewFiles(s)
	if err != nil {
		return nil, fmt.Errorf("descriptor set: %w (it must hold what its files import: protoc --include_imports)", err)
	}
	return &Schema{files, dynamicpb.NewTypes(files)}, nil
}

// Read makes a schema of a file that holds what Compile gave.
func Read(path string) (*Schema, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return New(b)
}

// maxNested bounds how deep a message of messages is followed.
const maxNested = 100

var errUnknown = errors.New("the schema has no such method")

// Text is the message b of a call in one direction as JSON, and the full name of
// its type. path is that of the request: /package.Service/Method.
func (s *Schema) Text(path string, dir bus.Dir, b []byte) (text, typeName string, err error) {
	m, err := s.message(path, dir)
	if err != nil {
		return "", "", err
	}
	name := string(m.Descriptor().FullName())
	if err := (proto.UnmarshalOptions{Resolver: s.types, RecursionLimit: maxNested, AllowPartial: true}).Unmarshal(b, m); err != nil {
		return "", name, fmt.Errorf("not a %s: %w", name, err)
	}
	unknown := m.ProtoReflect().GetUnknown()
	j, err := protojson.MarshalOptions{AllowPartial: true, Resolver: s.types, UseProtoNames: true}.Marshal(m)
	if err != nil {
		return "", name, fmt.Errorf("show a %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, j, "", "  "); err != nil { // protojson's own spaces are random
		return "", name, err
	}
	if len(unknown) > 0 {
		out.WriteString("\n// fields that the schema does not have:\n" + protobuf.Text(unknown))
	}
	return out.String(), name, nil
}

// message is an empty message of the type that goes in a direction.
func (s *Schema) message(path string, dir bus.Dir) (*dynamicpb.Message, error) {
	path, _, _ = strings.Cut(path, "?")
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return nil, errUnknown
	}
	service := path[strings.LastIndexByte(path[:i], '/')+1 : i] // gRPC-Web and Connect may stand below another path
	d, err := s.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, errUnknown
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, errUnknown
	}
	m := sd.Methods().ByName(protoreflect.Name(path[i+1:]))
	if m == nil {
		return nil, errUnknown
	}
	if dir == bus.ClientToServer {
		return dynamicpb.NewMessage(m.Input()), nil
	}
	return dynamicpb.NewMessage(m.Output()), nil
}
