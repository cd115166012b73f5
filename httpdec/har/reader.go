package har

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Read reads a HAR file and hands each entry to f as it comes, so that the
// file's size does not matter. It returns the log without entries. An error of f
// ends the reading.
func Read(r io.Reader, f func(*Entry) error) (*Log, error) {
	d := json.NewDecoder(r)
	log := &Log{}
	err := object(d, func(key string) error {
		if key != "log" {
			return skip(d)
		}
		return object(d, func(key string) error {
			switch key {
			case "version":
				return d.Decode(&log.Version)
			case "creator":
				return d.Decode(&log.Creator)
			case "_verdicts":
				return d.Decode(&log.Verdicts)
			case "_verdictsTotal":
				return d.Decode(&log.VerdictsTotal)
			case "entries":
				return entries(d, f)
			}
			return skip(d)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read HAR: %w", err)
	}
	return log, nil
}

func object(d *json.Decoder, member func(key string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := member(key.(string)); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

func entries(d *json.Decoder, f func(*Entry) error) error {
	if err := delim(d, '['); err != nil {
		return err
	}
	for d.More() {
		e := new(Entry)
		if err := d.Decode(e); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%v where %v was expected", t, want)
	}
	return nil
}

func skip(d *json.Decoder) error {
	var v json.RawMessage
	return d.Decode(&v)
}

// Bytes is the body, with its encoding undone.
func (c *Content) Bytes() ([]byte, error) { return bodyBytes(c.Text, c.Encoding) }

// Bytes is the body, with its encoding undone.
func (p *PostData) Bytes() ([]byte, error) { return bodyBytes(p.Text, p.Encoding) }

func bodyBytes(text json.RawMessage, encoding string) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	if strings.EqualFold(encoding, "base64") {
		return base64.StdEncoding.DecodeString(s)
	}
	return []byte(s), nil
}
