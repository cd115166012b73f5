module clipper/integration

go 1.26.0

require (
	github.com/chromedp/chromedp v0.23.0 // indirect
	golang.org/x/sys v0.49.0
)

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
)

require (
	clipper/cdpgw/browsertest v0.0.0
	github.com/CycloneDX/cyclonedx-go v0.12.0
	github.com/robert-nix/ansihtml v1.0.1
)

replace (
	clipper/bus => ../bus
	clipper/cdpgw => ../cdpgw
	clipper/cdpgw/browsertest => ../cdpgw/browsertest
)
