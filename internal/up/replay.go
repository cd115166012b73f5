package up

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"clipper/bus"
	"clipper/internal/roles"
)

// decoders are the roles that read the log, in the order of the pipeline.
type decoders struct {
	sync.Mutex
	specs []roles.Spec
}

// gives are the layers that each stage writes.
var gives = map[string][]bus.Layer{
	"reassembler": {bus.TCP, bus.UDP},
	"tlsdec":      {bus.Plain},
	"httpdec":     {bus.HTTP, bus.Body},
}

// replay has a stage, and all that come after it, begin anew: they decode what
// the log still has once more. path is the program to run for the stage; "" is as
// it was. A role that is no stage is only started again.
func (r *run) replay(role, path string) error {
	r.decoders.Lock()
	defer r.decoders.Unlock()
	at := slices.IndexFunc(r.decoders.specs, func(s roles.Spec) bool { return s.Name == role })
	if gives[role] == nil || at < 0 {
		return r.roles.Restart(role, path)
	}
	again := r.decoders.specs[at:]
	var layers []bus.Layer
	var wg sync.WaitGroup
	for _, s := range again {
		layers = append(layers, gives[s.Name]...)
		wg.Go(func() { r.roles.Stop(s.Name, stopLimit) }) // one that had to be killed has ended, too
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := r.bus.Purge(ctx, layers...); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	r.out.sink.Again()
	if path != "" {
		again[0].Path = path
	}
	for _, s := range again {
		if err := r.roles.Start(s); err != nil {
			return err
		}
	}
	return nil
}
