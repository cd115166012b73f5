// Package pcapng reads and writes capture files. Files in the formats pcap and
// pcapng, compressed with gzip or zstd or not, become records of the layers
// bus.Frames and bus.Keys; such records become a pcapng file.
//
// The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
// Files are hostile: memory is bounded whatever they claim, and what stands
// before a damaged spot is read.
package pcapng
