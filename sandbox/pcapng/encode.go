package pcapng

// beginBlock appends the head of a block. Its length is written by endBlock.
func beginBlock(b []byte, typ uint32) []byte {
	b = le.AppendUint32(b, typ)
	return le.AppendUint32(b, 0)
}

// endBlock ends the block that begins at start.
func endBlock(b []byte, start int) []byte {
	n := uint32(len(b) - start + 4)
	le.PutUint32(b[start+4:], n)
	return le.AppendUint32(b, n)
}

func appendTime(b []byte, ns int64) []byte {
	t := uint64(max(ns, 0))
	b = le.AppendUint32(b, uint32(t>>32))
	return le.AppendUint32(b, uint32(t))
}

// appendPadded appends data and zeros up to a multiple of four bytes.
func appendPadded(b, data []byte) []byte {
	b = append(b, data...)
	var zeros [3]byte
	return append(b, zeros[:pad4(len(data))-len(data)]...)
}

func appendOption(b []byte, code uint16, value []byte) []byte {
	const most = 1<<16 - 1
	value = value[:min(len(value), most)]
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(value)))
	return appendPadded(b, value)
}

func appendText(b []byte, code uint16, s string) []byte { return appendOption(b, code, []byte(s)) }

// appendEnd ends a list of options.
func appendEnd(b []byte) []byte { return le.AppendUint32(b, optEnd) }
