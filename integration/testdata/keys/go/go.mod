module keys

go 1.18
