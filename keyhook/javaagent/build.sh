#!/bin/sh
# Builds agent.jar, or the file that is named, from source. JDK 17 gives the same
# bytes each time; others compile it a little differently.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
javac -nowarn -Xlint:-options --release 8 -d "$out/classes" src/clipper/keyhook/*.java
printf 'Created-By: clipper\nPremain-Class: clipper.keyhook.Agent\nCan-Retransform-Classes: false\n' >"$out/manifest"
TZ=UTC jar --create --file "$out/agent.jar" --manifest "$out/manifest" --date 2026-01-01T00:00:00Z -C "$out/classes" clipper
cmp -s "$out/agent.jar" "${1:-agent.jar}" || cp "$out/agent.jar" "${1:-agent.jar}"
