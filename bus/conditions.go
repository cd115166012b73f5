package bus

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Conditions is what a user of DevTools asked of the app's network: the one
// place where Clipper touches the traffic. The zero value asks nothing.
type Conditions struct {
	// Offline: nothing passes. Open TCP connections wait, new ones and datagrams
	// get "network is unreachable".
	Offline bool `json:"offline,omitempty"`
	// Blocking: the first rule that matches a connection decides.
	Blocking []BlockRule `json:"blocking,omitempty"`
	// Limits: the first that matches a connection holds for it. The connections
	// of one limit share its throughput.
	Limits []Limit `json:"limits,omitempty"`
	// Impossible lists patterns that were asked for and can't be had; they have no
	// effect but that the user is told.
	Impossible []string `json:"impossible,omitempty"`
}

// BlockRule blocks connections, or exempts them from the rules after it.
type BlockRule struct {
	Target
	Block bool `json:"block"`
}

// Limit is a slower network.
type Limit struct {
	Target
	Latency  int64 `json:"latency,omitempty"`  // ns, added to each round trip
	Download int64 `json:"download,omitempty"` // bytes/s to the app; 0: no limit
	Upload   int64 `json:"upload,omitempty"`   // bytes/s from the app; 0: no limit
}

// Target says which connections are meant.
type Target struct {
	// Host is the name the app asked for (TLS server name, HTTP Host) or the
	// server's address, in lower case; '*' stands for any characters. "" and
	// "*" are every connection.
	Host string `json:"host,omitempty"`
	// Ports of the server; none means any.
	Ports []uint16 `json:"ports,omitempty"`
	// Flows are open connections that are known to be meant, by what was decoded.
	Flows []Flow `json:"flows,omitempty"`
}

// Empty reports whether c asks nothing.
func (c *Conditions) Empty() bool {
	return c == nil || !c.Offline && len(c.Blocking) == 0 && len(c.Limits) == 0
}

// Every reports whether t is every connection.
func (t *Target) Every() bool { return (t.Host == "" || t.Host == "*") && len(t.Ports) == 0 }

// Match reports whether a connection to server is meant. The name is what the
// app called the server, "" when that is unknown.
func (t *Target) Match(name string, server netip.AddrPort) bool {
	if len(t.Ports) > 0 {
		found := false
		for _, p := range t.Ports {
			found = found || p == server.Port()
		}
		if !found {
			return false
		}
	}
	if t.Host == "" || t.Host == "*" {
		return true
	}
	return name != "" && Glob(t.Host, strings.ToLower(strings.TrimSuffix(name, "."))) || Glob(t.Host, server.Addr().Unmap().WithZone("").String())
}

func (t Target) String() string {
	host := t.Host
	if t.Every() {
		return "everything"
	}
	if host == "" {
		host = "*"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	var ports []string
	for _, p := range t.Ports {
		ports = append(ports, strconv.Itoa(int(p)))
	}
	if len(ports) > 0 {
		host += ":" + strings.Join(ports, ",")
	}
	return host
}

// Glob reports whether s matches a pattern in which '*' stands for any characters.
func Glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// Bounds on Conditions, which come from a browser.
const (
	maxRules   = 256
	maxFlows   = 4096 // of one rule
	maxLatency = int64(60e9)
)

// Check refuses what is too large to be meant.
func (c *Conditions) Check() error {
	if len(c.Blocking) > maxRules || len(c.Limits) > maxRules || len(c.Impossible) > maxRules {
		return fmt.Errorf("more than %d rules for the network", maxRules)
	}
	targets := make([]*Target, 0, len(c.Blocking)+len(c.Limits))
	for i := range c.Blocking {
		targets = append(targets, &c.Blocking[i].Target)
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		if l.Latency < 0 || l.Latency > maxLatency || l.Download < 0 || l.Upload < 0 {
			return fmt.Errorf("latency %d ns, download %d, upload %d bytes/s: a latency of 0 to 60 s and throughputs of 0 or more are possible", l.Latency, l.Download, l.Upload)
		}
		targets = append(targets, &l.Target)
	}
	for _, t := range targets {
		if len(t.Flows) > maxFlows || len(t.Host) > 255 || len(t.Ports) > 16 {
			return fmt.Errorf("the rule for %.40q is too large", t.Host)
		}
	}
	return nil
}
