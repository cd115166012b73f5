// Package cdpgw is Clipper's Chrome DevTools Protocol gateway: HTTP events,
// bodies and process events of a session in; DevTools clients out.
//
// It serves a Network-only DevTools frontend at http://127.0.0.1:PORT/, the
// discovery documents under /json/, and one WebSocket target for the session
// and one for each process in it. Every client gets the whole history and then
// what is new. All output is a function of the bus records, so a gateway that
// was killed and started again shows the same.
//
// As a role of its own it is Main; inside another program it is Serve, or New
// and Gateway.Process.
package cdpgw
