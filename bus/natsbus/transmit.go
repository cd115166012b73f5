package natsbus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// loop sends what is queued and takes the answers, until close or a failure.
func (s *sender) loop() {
	defer close(s.stopped)
	connected := s.link.nc.StatusChanged(nats.CONNECTED)
	defer s.link.nc.RemoveStatusListener(connected)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, err := s.transmit()
		if err == nil && s.sent > 0 && time.Since(s.lastAck) >= ackTimeout {
			if err = s.silence(); err == nil {
				continue
			}
		}
		if err != nil {
			s.fail(err)
			return
		}
		timer.Reset(wait)
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		case <-connected:
			s.goBack()
			s.resumeAt, s.dry = time.Time{}, time.Time{}
		case m := <-s.acks:
			if err := s.acked(m); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

// transmit sends what may be sent and says how long to wait for news.
func (s *sender) transmit() (time.Duration, error) {
	for {
		s.mu.Lock()
		if s.sent >= len(s.queue) || s.probing && s.sent > 0 {
			s.mu.Unlock()
			if s.sent == 0 {
				return time.Hour, nil
			}
			return ackTimeout, nil
		}
		m := s.queue[s.sent]
		s.mu.Unlock()
		if d := time.Until(s.resumeAt); d > 0 {
			return d, nil
		}
		if !s.room(len(m.data)) {
			s.backOff()
			continue
		}
		if s.sent == 0 {
			s.lastAck = time.Now()
		}
		err := s.link.nc.PublishMsg(&nats.Msg{
			Subject: s.subject, Data: m.data,
			Reply: s.inbox + "." + strconv.Itoa(s.attempt) + "." + strconv.FormatUint(m.seq, 10),
			Header: nats.Header{
				jetstream.ExpectedLastSeqHeader:   {strconv.FormatUint(m.seq-1, 10)},
				jetstream.ExpectedLastMsgIDHeader: {s.msgID(m.seq - 1)},
				jetstream.MsgIDHeader:             {s.msgID(m.seq)},
			},
		})
		switch {
		case err == nil:
			s.sent++
			s.stored += uint64(len(m.data) + storedExtra)
		case errors.Is(err, nats.ErrConnectionClosed):
			return 0, ErrGone
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
			return 0, err
		default: // disconnected
			s.goBack()
			s.dry = time.Time{}
		}
	}
}

// msgID is the id of this writer's message seq.
func (s *sender) msgID(seq uint64) string {
	if seq == s.first {
		return s.id
	}
	return s.id + "." + strconv.FormatUint(seq, 10)
}

// room reports whether the stream has room for n bytes. It asks the server only
// when its own upper bound says that there may be none.
func (s *sender) room(n int) bool {
	need := uint64(n + storedExtra)
	if s.high == 0 || s.stored+need <= s.high {
		return true
	}
	info, err := s.look()
	if err != nil {
		return true // the answer to the message will tell
	}
	under := uint64(0) // what is under way is perhaps not in info
	s.mu.Lock()
	for _, m := range s.queue[:s.sent] {
		under += uint64(len(m.data) + storedExtra)
	}
	s.mu.Unlock()
	s.stored = info.State.Bytes + under
	return s.stored+need <= s.high
}

func (s *sender) backOff() {
	s.pause = min(max(2*s.pause, minBackoff), maxBackoff)
	s.resumeAt = time.Now().Add(s.pause)
}

// goBack starts over with the first message that is not acknowledged, alone.
func (s *sender) goBack() {
	s.attempt++
	s.resent += s.sent
	s.sent, s.probing = 0, true
	s.backOff()
}

// look is info that is asked for again if the answer is lost.
func (s *sender) look() (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(s.ctx, lookTimeout)
	defer cancel()
	return s.info(ctx)
}
