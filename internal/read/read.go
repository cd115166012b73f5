// Package read is `clipper read`: it runs the decoders over a recorded file, in
// one process. What flows in are a capture and maybe a key log; what flows out
// are the same files, lines and DevTools pages as of `clipper up`.
package read

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"clipper/bus"
	"clipper/httpdec"
	"clipper/reassembler"
	"clipper/sandbox/pcapng"
	"clipper/tlsdec"
)

// Decode runs the capture in through the decoders and hands every record that a
// sink may want to out: HTTP, Body, Proc and, as they come, Keys. keyLogs are
// read first; h are options of the decoder; plain, if not nil, gets the layer
// Plain. A damaged capture is decoded up to the damage, and the error says where
// that is.
func Decode(in io.Reader, keyLogs []string, h httpdec.Options, out func(*bus.Record) error, plain func(*bus.Record)) error {
	var failed error
	sink := func(r *bus.Record) {
		if failed == nil {
			failed = out(r)
		}
	}
	chain := bus.NewChain(sink, reassembler.New("file"), tlsdec.New(), tee{httpdec.NewWith(h), plain})
	secret := func(r *bus.Record) {
		sink(r) // before the chain, which may use it at once
		chain.Process(r)
	}
	for _, path := range keyLogs {
		if err := readKeyLog(path, secret); err != nil {
			return err
		}
	}
	f, err := pcapng.NewReader(in)
	if err != nil {
		return named(in, err)
	}
	defer f.Close()
	g := newGarbage()
	for n := 0; failed == nil; n++ {
		if n%4096 == 0 {
			g.pace()
		}
		var r *bus.Record
		r, err = f.Next()
		if err != nil {
			break
		}
		switch r.Layer {
		case bus.Keys:
			secret(r)
		case bus.Frames:
			sink(r)
			chain.Process(r)
		default:
			chain.Process(r)
		}
	}
	chain.Process(&bus.Record{Layer: bus.Keys, Type: bus.EOS})
	chain.Process(&bus.Record{Layer: bus.Frames, Type: bus.EOS})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(failed, named(in, err))
}

// named is an error of a capture with the name of its file, if it has one.
func named(in io.Reader, err error) error {
	if f, ok := in.(interface{ Name() string }); ok && err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return err
}

// tee shows somebody else what a stage takes.
type tee struct {
	bus.Stage
	see func(*bus.Record) // nil: nobody
}

func (t tee) Process(r *bus.Record, emit func(*bus.Record)) {
	if t.see != nil && r.Layer == bus.Plain {
		t.see(r)
	}
	t.Stage.Process(r, emit)
}

func readKeyLog(path string, emit func(*bus.Record)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--keylog: %w", err)
	}
	defer f.Close()
	n := 0
	err = pcapng.ReadKeyLog(f, func(s *bus.TLSSecret) error {
		n++
		s.Mechanism = "key log"
		emit(bus.SecretRecord(s, 0))
		return nil
	})
	if err != nil {
		return fmt.Errorf("--keylog %s: %w", path, err)
	}
	if n == 0 {
		return fmt.Errorf("--keylog %s: no line of the form LABEL CLIENT_RANDOM SECRET in it", path)
	}
	return nil
}

// Open opens a capture; "-" is standard input.
func Open(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is a directory; read needs a capture file", strings.TrimRight(path, "/"))
	}
	return f, nil
}
