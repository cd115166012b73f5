package cli

import (
	"fmt"

	"clipper/httpdec"
	"clipper/httpdec/grpcview"

	"github.com/spf13/pflag"
)

// protoFlag adds --proto.
func protoFlag(f *pflag.FlagSet, files *[]string) {
	f.StringArrayVar(files, "proto", nil, "show gRPC messages by the names in `FILE`, a .proto or a descriptor set; may be repeated")
}

// compileProtos makes one descriptor set of the files; nil without files.
func compileProtos(files []string) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	set, err := grpcview.Compile(files)
	if err != nil {
		return nil, usageError{fmt.Errorf("--proto: %w", err)}
	}
	return set, nil
}

// decoderOptions are those of a decoder in this process.
func decoderOptions(protos []string) (h httpdec.Options, err error) {
	set, err := compileProtos(protos)
	if err == nil && set != nil {
		h.Schema, err = grpcview.New(set)
	}
	return h, err
}
