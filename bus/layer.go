package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// Layer names one kind of record and, on the bus, one family of streams.
type Layer uint8

// The layers, from the wire upwards.
const (
	Frames Layer = 1 + iota // link-layer frames
	Keys                    // TLS secrets; never readable by taps
	Proc                    // process events: exec, exit, hook, socket
	TCP                     // reassembled TCP byte streams
	UDP                     // UDP datagrams
	Plain                   // the same after TLS or QUIC packet protection
	HTTP                    // HTTP events, JSON Lines on the bus
	Body                    // bodies of HTTP messages, decoded for viewing
)

var layerNames = [...]string{Frames: "frames", Keys: "keys", Proc: "proc", TCP: "tcp", UDP: "udp", Plain: "plain", HTTP: "http", Body: "body"}

// Layers lists every layer.
var Layers = []Layer{Frames, Keys, Proc, TCP, UDP, Plain, HTTP, Body}

// String returns the layer's name as it stands in subjects.
func (l Layer) String() string {
	if int(l) < len(layerNames) && layerNames[l] != "" {
		return layerNames[l]
	}
	return "layer" + strconv.Itoa(int(l))
}

// ParseLayer is the inverse of String.
func ParseLayer(name string) (Layer, error) {
	for l, n := range layerNames {
		if n != "" && n == name {
			return Layer(l), nil
		}
	}
	return 0, fmt.Errorf("bus: no layer %q (there are frames, keys, proc, tcp, udp, plain, http, body)", name)
}

// JSONLines reports whether the layer's batches are JSON Lines instead of the
// binary envelope.
func (l Layer) JSONLines() bool { return l == HTTP || l == Proc }

// Partitioned reports whether the layer has a stream for each partition.
// Keys go to every decryptor, so they have one stream; Proc has one stream
// for each of its writers.
func (l Layer) Partitioned() bool { return l != Keys && l != Proc }

// Partitions of the Proc layer, one for each writer.
const (
	ProcKeyhook = 0 // exec, exit, hook
	ProcNetd    = 1 // socket
	ProcWriters = 2
)

// Subject is the NATS subject of one partition of a layer.
func Subject(session string, l Layer, partition int) string {
	return "clipper." + session + "." + l.String() + "." + strconv.Itoa(partition)
}

// StreamName is the JetStream stream that stores Subject.
func StreamName(session string, l Layer, partition int) string {
	return strings.ToUpper("clipper_"+session) + "_" + l.String() + "_" + strconv.Itoa(partition)
}

// StreamCount is how many streams the layer has in a session with n partitions.
func (l Layer) StreamCount(n int) int {
	switch l {
	case Keys:
		return 1
	case Proc:
		return ProcWriters
	}
	return n
}
