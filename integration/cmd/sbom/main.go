// Command sbom writes the bill of materials of a binary, as CycloneDX JSON. What
// flows in is a Go binary and the package.json of the frontend that it embeds;
// the same input gives the same bytes, so it has no serial number and no date.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "the `VERSION` of the binary")
	frontend := flag.String("frontend", "", "the `FILE` package.json of the embedded frontend")
	flag.Parse()
	if err := write(flag.Arg(0), *version, *frontend); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(binary, version, frontend string) error {
	b, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	components := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "pkg:golang/std@")}
	for _, d := range info.Deps {
		if d.Version == "(devel)" {
			continue // a module of the binary's own repository
		}
		c := library(d.Path, d.Version, "pkg:golang/"+d.Path+"@")
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: d.Sum}}
		components = append(components, c)
	}
	embedded, err := frontendComponent(frontend)
	if err != nil {
		return err
	}
	components = append(components, embedded)

	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		BOMRef: "clipper", Type: cyclonedx.ComponentTypeApplication, Name: "clipper", Version: version,
		Licenses: license("Apache-2.0"),
		Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}}
	bom.Components = &components
	refs := []string{}
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: "clipper", Dependencies: &refs}}
	e := cyclonedx.NewBOMEncoder(os.Stdout, cyclonedx.BOMFileFormatJSON)
	return e.SetPretty(true).Encode(bom)
}

func library(name, version, purl string) cyclonedx.Component {
	purl += version
	return cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl}
}

func license(id string) *cyclonedx.Licenses {
	return &cyclonedx.Licenses{{License: &cyclonedx.License{ID: id}}}
}

// frontendComponent is what of the frontend's npm packages the binary carries: the
// frontend itself. The others only build it.
func frontendComponent(path string) (c cyclonedx.Component, err error) {
	const name = "chrome-devtools-frontend"
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	var p struct{ Dependencies map[string]string }
	if err := json.Unmarshal(b, &p); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	v, ok := p.Dependencies[name]
	if !ok {
		return c, fmt.Errorf("%s has no dependency %s", path, name)
	}
	c = library(name, v, "pkg:npm/"+name+"@")
	c.Licenses = license("BSD-3-Clause")
	return c, nil
}
