// Package translate turns HTTP and process events into the events of the
// Chrome DevTools Protocol. It has no clock, I/O or goroutine: the caller says
// what time it is, which matters only for how long an event may wait for facts
// that are still on their way (the process of a connection, the request that
// follows a redirect), and calls Expire at the time that Deadline names.
package translate
