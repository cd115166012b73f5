package coding

import (
	"errors"

	"clipper/httpdec/internal/snapshot"
)

// MaxReplay is how many bytes of a body that is encoded with br or zstd are kept,
// so that its decoder can be made again from a snapshot.
const MaxReplay = 128 << 10

// ErrRestart ends the decoding of a body that can't be taken up again after a
// restart: the library's state can't be stored, and too much has come.
var ErrRestart = errors.New("decoding was cut by a restart of the decoder: more than 128 KiB of the encoded body had come")

// replayed is a decoder of which the state is known only to a library: its state
// is the input so far.
type replayed struct {
	d    Decoder
	kind uint8 // of d, see make
	raw  []byte
	over bool // raw is not all
	err  error
}

const (
	replayBrotli uint8 = iota
	replayZstd
)

func newReplayed(kind uint8) *replayed {
	r := &replayed{kind: kind}
	r.make()
	return r
}

func (r *replayed) make() {
	if r.kind == replayBrotli {
		r.d = newBrotli()
	} else {
		r.d = newZstd()
	}
}

func (r *replayed) Write(p []byte, out func([]byte)) error {
	if r.err != nil {
		return r.err
	}
	if !r.over {
		if r.over = len(r.raw)+len(p) > MaxReplay; r.over {
			r.raw = nil
		} else {
			r.raw = append(r.raw, p...)
		}
	}
	return r.d.Write(p, out)
}

func (r *replayed) Window() int {
	if r.err != nil {
		return 0
	}
	return r.d.Window()
}

func (r *replayed) Close(out func([]byte)) error {
	err := r.d.Close(out)
	if r.err != nil {
		return r.err
	}
	return err
}

func (r *replayed) snapshot(s *snapshot.State) {
	snapshot.Index(s, &r.kind, int(replayZstd))
	s.Bool(&r.over)
	snapshot.Bytes(s, &r.raw, MaxReplay)
	if !s.Reading() || s.Damaged() {
		return
	}
	r.make()
	if r.over {
		r.err = ErrRestart
	} else if len(r.raw) > 0 {
		_ = r.d.Write(r.raw, func([]byte) {}) // it did not fail before
	}
}
