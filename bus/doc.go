// Package bus is Clipper's vocabulary: the layers, the records that flow
// between the stages, the connections and HTTP events they speak of, the
// envelope that carries them, and the Stage interface with its in-process
// driver, Chain. The transport over NATS is in the package natsbus.
//
// Frames and TLS secrets are the only primary data. Every other record is a
// deterministic function of them, so each stage can be killed, replaced, or
// run again from the log.
package bus
