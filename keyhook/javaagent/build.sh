#!/bin/sh
# Builds agent.jar from source; the same source gives the same bytes with the
# same JDK. Needs a JDK, 17 or later for --date.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
javac -nowarn -Xlint:-options --release 8 -d "$out/classes" src/clipper/keyhook/*.java
printf 'Premain-Class: clipper.keyhook.Agent\nCan-Retransform-Classes: false\n' >"$out/manifest"
jar --create --file "${1:-agent.jar}" --manifest "$out/manifest" --date 2026-01-01T00:00:00Z -C "$out/classes" clipper
