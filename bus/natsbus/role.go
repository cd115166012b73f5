package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"clipper/bus"
	"github.com/rs/zerolog"
)

// PartitionsEnv lists the partitions that a role is responsible for, separated
// by commas; unset means all.
const PartitionsEnv = "CLIPPER_PARTITIONS"

// OptionsEnv is the environment variable that holds a role's own options, as JSON.
const OptionsEnv = "CLIPPER_ROLE_OPTIONS"

// RoleOptions reads OptionsEnv into o. Unset, it leaves o as it is.
func RoleOptions(o any) error {
	s := os.Getenv(OptionsEnv)
	if s == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(s), o); err != nil {
		return fmt.Errorf("%s: %w", OptionsEnv, err)
	}
	return nil
}

// EndEnv is the environment variable that tells a role, when it is set, to end
// when all that is there has been published, as SIGTERM does. So ends one that
// takes over from a process that died on its way to the end.
const EndEnv = "CLIPPER_END"

// RoleContext is done when a role is to end: at SIGTERM or by EndEnv.
func RoleContext() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), syscall.SIGTERM)
	if os.Getenv(EndEnv) != "" {
		stop()
	}
	return ctx, stop
}

// connectTime is how long a role waits for the bus.
const connectTime = 10 * time.Second

// RunRole is StageMain without the exit: it finds the bus by CLIPPER_ACCESS and
// runs the stage for each partition of CLIPPER_PARTITIONS until all are
// complete, one fails, or ctx ends.
func RunRole(ctx context.Context, role string, newStage func() bus.Stage, o StageOptions) error {
	a, err := AccessFromEnv()
	if err != nil {
		return err
	}
	partitions, err := partitionList(os.Getenv(PartitionsEnv), a.Partitions)
	if err != nil {
		return err
	}
	c, cancel := context.WithTimeout(ctx, connectTime)
	b, err := Connect(c, a, role)
	cancel()
	if err != nil {
		return err
	}
	defer b.Close()
	if o.Role == "" {
		o.Role = role
	}
	return runPartitions(ctx, b, partitions, newStage, o)
}

// runPartitions runs them side by side; the first failure ends all.
func runPartitions(ctx context.Context, b *Bus, partitions []int, newStage func() bus.Stage, o StageOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	for _, p := range partitions {
		go func() { results <- RunStage(ctx, b, p, newStage, o) }()
	}
	var first error
	for range partitions {
		if err := <-results; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// partitionList parses a list such as "0,3"; the empty one is all of n.
func partitionList(list string, n int) (p []int, err error) {
	if list == "" {
		for i := range n {
			p = append(p, i)
		}
		return p, nil
	}
	for s := range strings.SplitSeq(list, ",") {
		i, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || i < 0 || i >= n {
			return nil, fmt.Errorf("%s=%q: %q is not a partition (0 to %d)", PartitionsEnv, list, s, n-1)
		}
		if slices.Contains(p, i) {
			return nil, fmt.Errorf("%s=%q: partition %d twice", PartitionsEnv, list, i)
		}
		p = append(p, i)
	}
	return p, nil
}

// StageMain is a decoder's main function: RunRole until SIGTERM or SIGINT, log
// and errors on stderr. The exit status is 0 when the outputs are complete and
// after a signal, 1 after an error.
func StageMain(role string, newStage func() bus.Stage) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true, TimeFormat: time.TimeOnly}).
		With().Timestamp().Str("role", role).Logger().Level(zerolog.WarnLevel)
	err := RunRole(ctx, role, newStage, StageOptions{Log: log})
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		fmt.Fprintf(os.Stderr, "clipper %s: %v\n", role, err)
		os.Exit(1)
	}
}
