package expect

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The elements of the JUnit XML that CI systems read: a suite with a case for
// each rule.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`      // s
		Timestamp string      `xml:"timestamp,attr"` // ISO 8601
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    string   `xml:"time,attr"`
		Failure *problem `xml:"failure"`
		Error   *problem `xml:"error"`
	}
	problem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the results after Finish; started and took are of the command.
func (e *Expectations) JUnit(w io.Writer, started time.Time, took time.Duration) error {
	s := junitSuite{Name: "clipper --expect", Tests: len(e.results), Time: fmt.Sprintf("%.3f", took.Seconds()), Timestamp: started.UTC().Format("2006-01-02T15:04:05")}
	for _, r := range e.results {
		c := junitCase{Name: printable(r.Rule.Text), Class: "clipper.expect", Time: "0"}
		p := &problem{Type: "expect", Text: strings.Join(r.reasons(), "\n")}
		switch {
		case r.Broken == 0:
		case r.Err != nil:
			p.Message = printable(r.Err.Error())
			c.Error = p
			s.Errors++
		default:
			p.Message = fmt.Sprintf("broken by %s", plural(r.Broken, "exchange"))
			if r.Rule.About() {
				p.Message = "false for the exchanges together"
			}
			c.Failure = p
			s.Failures++
		}
		s.Cases = append(s.Cases, c)
	}
	b, err := xml.MarshalIndent(junitSuites{Suite: s}, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte(xml.Header), append(b, '\n')...))
	return err
}
