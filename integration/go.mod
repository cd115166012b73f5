module clipper/integration

go 1.26.0

require (
	github.com/chromedp/chromedp v0.23.0 // indirect
	golang.org/x/sys v0.50.0
)

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

require (
	clipper/bus v0.0.0
	clipper/cdpgw/browsertest v0.0.0
	github.com/CycloneDX/cyclonedx-go v0.12.0
	github.com/gorilla/websocket v1.5.3
	github.com/nats-io/jwt/v2 v2.8.2
	github.com/nats-io/nats.go v1.55.0
	github.com/nats-io/nkeys v0.4.17
	github.com/quic-go/quic-go v0.65.0
	github.com/robert-nix/ansihtml v1.0.1
)

replace (
	clipper/bus => ../bus
	clipper/cdpgw => ../cdpgw
	clipper/cdpgw/browsertest => ../cdpgw/browsertest
)
