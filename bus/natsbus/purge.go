package natsbus

import (
	"context"
	"fmt"
	"slices"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// Purge empties the streams of layers, so that the stages that give them begin
// anew with what the log still has of their input, and whoever follows them gets
// the output of that next. No stage that gives one of them may run meanwhile.
// Sequences go on; a snapshot of what is purged is ignored, as it is of later input
// than the output.
func (b *Bus) Purge(ctx context.Context, layers ...bus.Layer) error {
	return b.eachStream(func(js jetstream.JetStream, l bus.Layer, p int) error {
		if !slices.Contains(layers, l) {
			return nil
		}
		name := bus.StreamName(b.access.Session, l, p)
		stream, err := js.Stream(ctx, name)
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err != nil {
			return fmt.Errorf("natsbus: purge %s: %w", name, err)
		}
		return nil
	})
}
