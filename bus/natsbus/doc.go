// Package natsbus carries the layers of package bus over NATS JetStream: the
// embedded server, the fenced publisher, the replaying consumer, and the driver
// that runs a bus.Stage as a process.
//
// One stream holds one partition of one layer and has one writer. Every batch
// is published with the sequence it must get and the id of the message before
// it, so that the stream itself has no gap, no duplicate and no foreign record;
// a second writer takes the stream over and the first one gets ErrFenced. A
// stage writes its progress into its output, so the output alone tells a
// restarted stage where it was. The state of a stage is stored now and then, so
// that what is open for long does not pin the log.
//
// In: records from a source (OpenPublisher) or a stage (RunStage, StageMain).
// Out: batches of records, from any sequence on (Follow). A full stream holds
// its writer up, and so on to the source; the embedded server, or Trim on
// another, removes what nobody needs any more, so that it is not full for long.
//
// The secrets of the Keys layer live in a NATS account of their own, which a
// process reaches only with an Access that has the right to it. Taps have an
// account too: they see the other layers and can write nothing.
package natsbus
