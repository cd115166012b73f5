//go:build linux

package netd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"clipper/sandbox/capture"

	"golang.org/x/sys/unix"
)

// Run moves packets until ctx ends, and then those of programs that have ended.
// It takes over the descriptors of o. An error before packets flow goes to
// ReadyFD as well.
func Run(ctx context.Context, o Options) error {
	n, err := start(&o)
	report(o.ReadyFD, err)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		if n.conditionsKnown != nil {
			<-n.conditionsKnown
		}
		ended <- n.loop.run()
	}()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		if n.owners != nil {
			n.owners.run(stop)
		}
	}()
	select {
	case <-ctx.Done():
		n.linger()
		n.loop.stop()
		err = <-ended
	case err = <-ended:
	}
	n.stop()
	close(stop)
	<-stopped
	return err
}

// start makes everything stand.
func start(o *Options) (*nat, error) {
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	if o.GatePercent == 0 {
		o.GatePercent = 50
	}
	r, err := newResolvers(o.DNS)
	if err != nil {
		return nil, err
	}
	t, err := newTun(o.TunFD, o.LoopbackFD)
	if err != nil {
		return nil, err
	}
	if o.PacketFD != 0 {
		g, err := awaitGate(o)
		if err != nil {
			return nil, err
		}
		t.wait = g.Wait
	}
	n, err := newNAT(*o, t, r)
	if err != nil {
		return nil, err
	}
	if n.owners, err = newOwners(o.DiagFD, n.diag, o.Owner); err != nil {
		return nil, fmt.Errorf("netd: %w", err)
	}
	if n.owners != nil {
		n.shape.blocked = n.owners.blocked
	}
	if o.Conditions != nil {
		n.conditionsKnown = o.Conditions(n.shape.set)
	}
	serve, closePublished, err := n.listenPublished(o.Publish)
	if err != nil {
		return nil, err
	}
	n.closePublished = closePublished
	serve()
	return n, nil
}

// ringTime is how long the holder of the packet socket may still be making the ring.
const ringTime = 10 * time.Second

func awaitGate(o *Options) (*capture.Gate, error) {
	for began := time.Now(); ; time.Sleep(200 * time.Microsecond) {
		g, err := capture.NewGate(o.PacketFD, o.PageFD, o.GatePercent)
		if !errors.Is(err, unix.EINVAL) || time.Since(began) > ringTime {
			return g, err
		}
	}
}

func (n *nat) stop() {
	n.ended.Store(true)
	n.closePublished()
	n.udp.closeAll()
}

func (n *nat) closing() bool { return n.ended.Load() }

// report tells whoever holds the other end of ReadyFD how it went.
func report(fd int, err error) {
	if fd == 0 {
		return
	}
	f := os.NewFile(uintptr(fd), "ready")
	defer f.Close()
	if err != nil {
		f.WriteString(err.Error())
		return
	}
	f.Write([]byte{Ready})
}

// AwaitReady reads the other end of ReadyFD.
func AwaitReady(f *os.File) error {
	b := make([]byte, 4096)
	n, err := f.Read(b)
	switch {
	case n == 1 && b[0] == Ready:
		return nil
	case n > 0:
		return errors.New(string(b[:n]))
	case err != nil:
		return fmt.Errorf("netd ended before it was ready: %w", err)
	}
	return errors.New("netd: not ready")
}

// closeOnExec keeps the descriptors from programs that might be started.
func closeOnExec(fds ...int) {
	for _, fd := range fds {
		if fd != 0 {
			unix.CloseOnExec(fd)
		}
	}
}
