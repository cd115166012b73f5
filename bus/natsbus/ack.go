package natsbus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Error codes of JetStream.
const (
	errCodeMaxBytes      = 10077 // the stream is full
	errCodeWrongLastID   = 10070
	errCodeWrongLastSeq  = 10071
	errCodeWrongLastSeq2 = 10164 // the same, without the number
)

func isAPI(err error, code jetstream.ErrorCode) bool {
	var ae *jetstream.APIError
	return errors.As(err, &ae) && ae.ErrorCode == code
}

// acked takes the answer to one message.
func (s *sender) acked(m *nats.Msg) error {
	attempt, seq, ok := s.parseReply(m.Subject)
	if !ok {
		return nil
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	switch {
	case m.Header.Get("Status") == "503":
		return s.nothingStored(attempt, errors.New("no answer to the stream's subject"))
	case json.Unmarshal(m.Data, &ack) != nil:
		return fmt.Errorf("malformed acknowledgement of %d", seq)
	case ack.Error == nil && ack.Seq == seq:
		s.dry, s.pause, s.probing = time.Time{}, 0, false
		s.confirm(seq)
		return nil
	case ack.Error == nil:
		return fmt.Errorf("message %d was stored as %d: %w", seq, ack.Seq, ErrFenced)
	}
	switch ack.Error.ErrorCode {
	case errCodeWrongLastSeq, errCodeWrongLastSeq2:
		return s.refused(attempt, seq, ack.Error)
	case errCodeWrongLastID: // of the right sequence, hence another writer's
		return ErrFenced
	case errCodeMaxBytes:
		s.dry = time.Time{}
		if attempt == s.attempt {
			s.goBack()
		}
		return nil
	}
	return s.nothingStored(attempt, ack.Error)
}

func (s *sender) parseReply(subject string) (attempt int, seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.inbox+".")
	a, q, ok2 := strings.Cut(rest, ".")
	attempt, err := strconv.Atoi(a)
	seq, err2 := strconv.ParseUint(q, 10, 64)
	return attempt, seq, ok && ok2 && err == nil && err2 == nil
}

// silence is called when a message was not answered in time: the answer was
// lost, or the server failed to write.
func (s *sender) silence() error {
	if err := s.link.refused(s.subject); err != nil {
		return err
	}
	if s.dry.IsZero() {
		s.dry = s.lastAck
	}
	s.lastAck = time.Now()
	return s.nothingStored(s.attempt, errors.New("no answer"))
}

// nothingStored counts the time for which no message got through although the
// server is there. It is short at the server's start, and without end when the
// server gave its storage up.
func (s *sender) nothingStored(attempt int, err error) error {
	if s.dry.IsZero() {
		s.dry = time.Now()
	}
	if time.Since(s.dry) > giveUp {
		return fmt.Errorf("%w (%v)", ErrUnavailable, err)
	}
	if attempt == s.attempt {
		s.goBack()
	}
	return nil
}

// confirm drops the messages up to seq: a stored message has its predecessors stored.
func (s *sender) confirm(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.queue) && s.queue[n].seq <= seq {
		s.bytes -= len(s.queue[n].data)
		freeBuffer(s.queue[n].data) // the connection has copied it
		s.queue[n] = queued{}
		n++
	}
	if n == 0 {
		return
	}
	s.queue = s.queue[n:]
	s.sent = max(s.sent-n, 0)
	s.lastAck = time.Now()
	s.notify()
}

// refused interprets "wrong last sequence: N" as the answer to message seq.
func (s *sender) refused(attempt int, seq uint64, ae *jetstream.APIError) error {
	var last uint64
	if _, err := fmt.Sscanf(ae.Description, "wrong last sequence: %d", &last); err != nil || last < seq {
		if attempt == s.attempt { // a predecessor is missing
			s.goBack()
		}
		return nil
	}
	s.mu.Lock()
	var data []byte
	for _, m := range s.queue {
		if m.seq == seq {
			data = m.data
		}
	}
	s.mu.Unlock()
	if data == nil { // confirmed meanwhile
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, lookTimeout)
	defer cancel()
	m, err := getMsg(ctx, s.link.js, s.stream, seq)
	switch {
	case err != nil:
		// Perhaps trimmed already, by whomever it was. To start over is always right.
		if info, err := s.look(); err == nil && info.State.FirstSeq > seq {
			return ErrFenced
		}
		if attempt == s.attempt {
			s.goBack()
		}
	case bytes.Equal(m.Data, data): // stored; its acknowledgement was lost
		s.probing = false
		s.confirm(seq)
	default:
		return ErrFenced
	}
	return nil
}
