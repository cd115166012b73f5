package natsbus

import "github.com/rs/zerolog"

// serverLog is the server's logger. A fatal message is an error line: the
// server must never end the program around it.
type serverLog struct{ log zerolog.Logger }

func (l serverLog) Noticef(f string, a ...any) { l.log.Debug().Msgf(f, a...) }
func (l serverLog) Warnf(f string, a ...any)   { l.log.Warn().Msgf(f, a...) }
func (l serverLog) Errorf(f string, a ...any)  { l.log.Error().Msgf(f, a...) }
func (l serverLog) Fatalf(f string, a ...any)  { l.log.Error().Bool("fatal", true).Msgf(f, a...) }
func (l serverLog) Debugf(f string, a ...any)  { l.log.Trace().Msgf(f, a...) }
func (l serverLog) Tracef(f string, a ...any)  { l.log.Trace().Msgf(f, a...) }
