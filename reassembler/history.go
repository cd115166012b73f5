package reassembler

import "bytes"

// history keeps the beginnings of the latest segments of a half, so that a
// retransmission with other bytes shows.
type history [historyPieces]piece

// piece fills a cache line.
type piece struct {
	off  int64
	n    uint8
	data [historyBytes]byte
}

const (
	historyPieces = 8
	historyBytes  = 55
)

func (h *half) remember(s *Stage, off int64, data []byte) {
	if h.history == nil {
		h.history = s.newHistory()
	}
	p := &h.history[h.pieces%historyPieces]
	if h.pieces++; h.pieces == 2*historyPieces { // it tells how many there are, too
		h.pieces = historyPieces
	}
	p.off, p.n = off, uint8(copy(p.data[:], data))
}

// compare flags the half if data at off differs from what was emitted.
func (h *half) compare(off int64, data []byte) {
	if h.history == nil || h.conflict {
		return
	}
	for i := range h.history {
		p := &h.history[i]
		from, to := max(off, p.off), min(off+int64(len(data)), p.off+int64(p.n))
		if from < to && !bytes.Equal(data[from-off:to-off], p.data[from-p.off:to-p.off]) {
			h.conflict = true
			return
		}
	}
}

func (s *Stage) newHistory() *history {
	if n := len(s.histories); n > 0 {
		h := s.histories[n-1]
		s.histories = s.histories[:n-1]
		*h = history{}
		return h
	}
	return new(history)
}

func (s *Stage) dropHistory(h *half) {
	if h.history != nil {
		s.histories = append(s.histories, h.history)
		h.history, h.pieces = nil, 0
	}
}
