package browsertest

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/cdpgw"
	"clipper/cdpgw/browsertest/browser"
	"clipper/cdpgw/internal/fixture"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "write screenshots into this directory")

// gateway serves the fixtures with these names, or all.
func gateway(t *testing.T, names ...string) *cdpgw.Gateway {
	t.Helper()
	return gatewayWith(t, cdpgw.Options{}, names...)
}

func gatewayWith(t *testing.T, o cdpgw.Options, names ...string) *cdpgw.Gateway {
	t.Helper()
	o.Title, o.AppPID, o.Discovery, o.SessionDir = "curl -s https://api.example.test/v1/users", 4242, true, t.TempDir()
	g, err := cdpgw.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	feed(t, g, names...)
	return g
}

func feed(t *testing.T, g *cdpgw.Gateway, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"h2-get", "h1-post", "redirect-chain", "redirect-ignored", "failures", "verdicts", "websocket", "sse", "grpc", "media", "odd", "blocked", "dns"}
	}
	for _, n := range names {
		steps, err := fixture.Read(filepath.Join("../testdata", n+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if s.Record != nil {
				g.Process(s.Record)
			}
		}
	}
	g.Flush()
}

// tab is a page in headless Chromium.
type tab struct {
	*browser.Tab
	t   *testing.T
	ctx context.Context
}

func chromium(t *testing.T) *tab {
	t.Helper()
	b := browser.Start(t)
	return &tab{b, t, b.Ctx}
}

// open loads a page and waits until it has rows.
func (b *tab) open(url string, rows int) []map[string]string {
	b.t.Helper()
	b.Open(url)
	return b.Rows(rows)
}

// dark makes the browser prefer dark pages.
func (b *tab) dark() {
	b.t.Helper()
	dark := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, dark)
		return err
	})); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) shot(name string) {
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Log("screenshot:", err)
		return
	}
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("/?=:", r) {
			return '_'
		}
		return r
	}, name)
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		b.t.Log("screenshot:", err)
	}
}
