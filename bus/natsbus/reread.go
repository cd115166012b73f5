package natsbus

import (
	"context"

	"clipper/bus"
)

// announce tells a stage that can have records read again which message comes next.
func (r *runner) announce(i int, seq uint64) {
	if s, ok := r.stage.(bus.Rereader); ok && i != sideInput {
		s.Message(r.in[i].layer, seq)
	}
}

// reread gives the stage once more what it left in the log until the side input
// that was just processed. What it emits belongs to that.
func (r *runner) reread(ctx context.Context, emit func(*bus.Record)) error {
	s, ok := r.stage.(bus.Rereader)
	if !ok {
		return nil
	}
	for l, seq, ok := s.Again(); ok && r.err == nil; l, seq, ok = s.Again() {
		if i := r.inputOf(l); i >= 0 {
			if err := r.rereadInput(ctx, s, i, seq, emit); err != nil {
				return err
			}
		}
		s.Reread(&bus.Record{Layer: l, Type: bus.EOS}, emit)
	}
	return r.err
}

// rereadInput reads an input from message seq up to the last one consumed.
func (r *runner) rereadInput(ctx context.Context, s bus.Rereader, i int, seq uint64, emit func(*bus.Record)) error {
	l, last := r.in[i].layer, r.pos[i]
	info, err := r.bus.streamInfo(ctx, l, r.partition)
	if err != nil {
		return err
	}
	seq = max(seq, info.State.FirstSeq) // the rest was trimmed
	if seq > last {
		return nil
	}
	rd, err := r.bus.openReader(ctx, l, r.partition, seq)
	if err != nil {
		return err
	}
	defer rd.close()
	for seq <= last {
		b, err := rd.read(ctx)
		if err != nil {
			return err
		}
		if seq = b.Seq + 1; b.Seq > last {
			break
		}
		s.Message(l, b.Seq)
		for rec := range b.Records() {
			if rec.Type == bus.EOS {
				return nil
			}
			if s.Reread(rec, emit); r.err != nil {
				return r.err
			}
		}
	}
	return nil
}
