package sink

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/internal/filter"
	"clipper/internal/term"
)

// Limits on what the summary remembers and lists.
const (
	maxHosts    = 10_000
	listHosts   = 5
	listSlowest = 3
	// slow is what an exchange must take to be among the slowest.
	slow = 100 * time.Millisecond
)

// totals are what the summary is made of.
type totals struct {
	exchanges, shown int
	failed           int
	clientErrors     int // 4xx
	serverErrors     int // 5xx
	received         uint64
	hosts            map[string]int
	slowest          []term.Line // the longest first
	verdicts         map[bus.VerdictCode]int
	lost             uint64 // frames
}

func newTotals() totals {
	return totals{hosts: map[string]int{}, verdicts: map[bus.VerdictCode]int{}}
}

func (t *totals) exchange(x *exchange.Exchange, l term.Line, shown bool) {
	t.exchanges++
	if shown {
		t.shown++
	}
	switch {
	case l.Failure != "":
		t.failed++
	case l.Status >= 500:
		t.serverErrors++
	case l.Status >= 400:
		t.clientErrors++
	}
	t.received += l.Size
	if host := filter.OfExchange(x).Host(); len(t.hosts) < maxHosts || t.hosts[host] > 0 {
		t.hosts[host]++
	}
	if l.Duration < slow {
		return
	}
	at, _ := slices.BinarySearchFunc(t.slowest, l, func(a, b term.Line) int { return cmp.Compare(b.Duration, a.Duration) })
	t.slowest = slices.Insert(t.slowest, at, l)
	if len(t.slowest) > listSlowest {
		t.slowest = t.slowest[:listSlowest]
	}
}

// verdict counts a connection under its latest verdict.
func (t *totals) verdict(before, now bus.VerdictCode) {
	if before != "" {
		if t.verdicts[before]--; t.verdicts[before] == 0 {
			delete(t.verdicts, before)
		}
	}
	t.verdicts[now]++
}

// Totals are what there was so far.
type Totals struct {
	Exchanges, Failed int
	Lost              uint64         // frames
	Verdicts          map[string]int // by code
}

// Totals counts what there was so far.
func (s *Sink) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Totals{s.totals.exchanges, s.totals.failed, s.totals.lost, map[string]int{}}
	for code, n := range s.totals.verdicts {
		t.Verdicts[string(code)] = n
	}
	return t
}

// Lost says how many frames the capture lost, where the sink gets no frames.
func (s *Sink) Lost(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals.lost = max(s.totals.lost, n)
}

// KeptAll reports whether the file Keep has everything.
func (s *Sink) KeptAll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.packets, func(p *packets) bool { return p.full })
}

// Summary says in a few lines what there was, where it is not plain from the
// request lines. Call it after Close.
func (s *Sink) Summary() {
	t, out := &s.totals, s.o.Terminal
	if out == nil {
		return
	}
	if t.exchanges == 0 && len(t.verdicts) == 0 {
		out.Note("no HTTP traffic was seen")
	} else if t.exchanges != 1 || s.o.Filter != nil {
		out.Note("%s", t.headline(s.o.Filter != nil))
	}
	if hosts := t.listHosts(); len(t.hosts) > 1 {
		out.Note("  hosts    %s", hosts)
	}
	if t.exchanges > 1 {
		for i, l := range t.slowest {
			title := "slowest"
			if i > 0 {
				title = ""
			}
			out.Note("  %-8s %s", title, out.Brief(l))
		}
	}
	if len(t.verdicts) > 0 {
		out.Note("  unread   %s", counted(t.verdicts, len(t.verdicts)))
	}
	if t.lost > 0 {
		out.Say("%d frames were lost; requests may be missing", t.lost)
	}
	if files := s.writtenFiles(); len(files) > 0 {
		out.Note("  written  %s", strings.Join(files, ", "))
	}
}

func (t *totals) headline(filtered bool) string {
	h := fmt.Sprintf("%s with %s, %s received", count(t.exchanges, "exchange"), count(len(t.hosts), "host"), term.Size(t.received))
	if filtered {
		h += fmt.Sprintf("; %d pass the filter", t.shown)
	}
	var bad []string
	for _, b := range []struct {
		n    int
		what string
	}{{t.failed, "failed"}, {t.clientErrors, "with status 4xx"}, {t.serverErrors, "with status 5xx"}} {
		if b.n > 0 {
			bad = append(bad, fmt.Sprintf("%d %s", b.n, b.what))
		}
	}
	if len(bad) > 0 {
		h += "; " + strings.Join(bad, ", ")
	}
	return h
}

func (t *totals) listHosts() string { return counted(t.hosts, listHosts) }

// counted lists the most frequent keys with their numbers.
func counted[K ~string](m map[K]int, limit int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	var list []string
	for i, k := range keys {
		if i == limit {
			list = append(list, fmt.Sprintf("and %d more", len(keys)-limit))
			break
		}
		list = append(list, fmt.Sprintf("%s %d", term.Printable(string(k)), m[k]))
	}
	return strings.Join(list, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
