package har

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Repairable is a file that a killed writer left; *os.File is one.
type Repairable interface {
	io.ReaderAt
	Target
}

// headStart begins a file of a Writer. Then each entry stands on a line of its own,
// the first one after "\n", others after "\n,", and what closes the file after "\n]".
var headStart = []byte(`{"log":{"version":"1.2","creator":{"name":"Clipper",`)

// ErrForeign is a file that no Writer wrote.
var ErrForeign = errors.New("har: the file is not one that Clipper wrote")

// Repair makes a file whole whose Writer was killed in the middle of a write: what
// was not written completely is taken away. It needs little memory.
func Repair(f Repairable, size int64) error {
	head := make([]byte, min(size, 4<<10))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("repair HAR: %w", err)
	}
	list := bytes.Index(head, []byte(`"entries":[`))
	if !bytes.HasPrefix(head, headStart) || list < 0 {
		return ErrForeign
	}
	at := int64(list + len(`"entries":[`)) // where the tail goes
	var verdicts []byte
	var last [3]int64
	for i, line := range []string{"\n{", "\n,", "\n]"} {
		var err error
		if last[i], err = lastIndex(f, size, line); err != nil {
			return err
		}
	}
	if entry, tail := max(last[0], last[1]), last[2]; tail > entry {
		whole, n, list := readTail(io.NewSectionReader(f, tail+1, size-tail-1))
		if whole {
			return truncate(f, tail+1+n, size)
		}
		at, verdicts = tail, list
	} else if entry >= at {
		at = entry // which is cut, as no line follows
	}
	end := fmt.Appendf(nil, "\n],\"_verdicts\":[%s]}}\n", verdicts)
	if _, err := f.WriteAt(end, at); err != nil {
		return fmt.Errorf("repair HAR: %w", err)
	}
	return truncate(f, at+int64(len(end)), size)
}

func truncate(f Target, to, size int64) error {
	if to >= size {
		return nil
	}
	return f.Truncate(to)
}

// maxTail bounds the memory for what closes a file, MaxVerdicts of them.
const maxTail = 16 << 20

// readTail reads what closes a file: whether it is whole, and then how long; else the
// verdicts in it that are.
func readTail(r io.Reader) (whole bool, n int64, verdicts []byte) {
	const opening = `{"log":{"entries":[`
	text, err := io.ReadAll(io.LimitReader(r, maxTail))
	if err != nil || !bytes.HasPrefix(text, []byte("]")) {
		return false, 0, nil
	}
	d := json.NewDecoder(io.MultiReader(bytes.NewReader([]byte(opening)), bytes.NewReader(text)))
	var f File
	if d.Decode(&f) == nil {
		n = d.InputOffset() - int64(len(opening))
		if n < int64(len(text)) && text[n] == '\n' {
			n++
		}
		return true, n, nil
	}
	_, list, ok := bytes.Cut(text, []byte(`],"_verdicts":`))
	if !ok {
		return false, 0, nil
	}
	d = json.NewDecoder(bytes.NewReader(list))
	if _, err := d.Token(); err != nil {
		return false, 0, nil
	}
	for d.More() {
		var v json.RawMessage
		if d.Decode(&v) != nil {
			break
		}
		if verdicts != nil {
			verdicts = append(verdicts, ',')
		}
		verdicts = append(verdicts, v...)
	}
	return false, 0, verdicts
}

// RepairLines cuts the last line off the file of a LineWriter that was killed in the
// middle of it.
func RepairLines(f Repairable, size int64) error {
	last, err := lastIndex(f, size, "\n")
	if err != nil {
		return err
	}
	return truncate(f, last+1, size)
}

// lastIndex finds the last instance of sep in the first size bytes of f, or -1.
func lastIndex(f io.ReaderAt, size int64, sep string) (int64, error) {
	const window = 64 << 10
	buf := make([]byte, window+len(sep)-1)
	for end := size; end > 0; {
		from := max(0, end-window)
		n := min(size, end+int64(len(sep))-1) - from
		if _, err := f.ReadAt(buf[:n], from); err != nil && err != io.EOF {
			return 0, fmt.Errorf("repair: %w", err)
		}
		if i := bytes.LastIndex(buf[:n], []byte(sep)); i >= 0 {
			return from + int64(i), nil
		}
		end = from
	}
	return -1, nil
}
