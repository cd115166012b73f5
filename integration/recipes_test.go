package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// recipe is a block of shell in docs/recipes.md and, maybe, what it prints.
var recipe = regexp.MustCompile("(?s)```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?")

// TestRecipes runs docs/recipes.md as it stands, but against a server here.
func TestRecipes(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	blocks := recipe.FindAllStringSubmatch(string(readFile(t, "../docs/recipes.md")), -1)
	if len(blocks) < 7 {
		t.Fatalf("%d recipes", len(blocks))
	}
	w := plainUser(t)
	for _, b := range blocks {
		t.Run(strings.Join(strings.Fields(b[1])[:4], " "), func(t *testing.T) {
			script, want := strings.ReplaceAll(b[1], "https://example.com", s.URL), b[2]
			cmd := w.command(t, "bash", "-e", "-o", "pipefail", "-c", script)
			cmd.Env = append(cmd.Env, "CURL_CA_BUNDLE="+ca, "PATH="+filepath.Dir(clipper(t))+":"+os.Getenv("PATH"))
			if r := finish(t, cmd); r.code != 0 || r.stdout != want {
				t.Errorf("exit %d, printed\n%s\nwant\n%s\n%s", r.code, r.stdout, want, r.stderr)
			}
		})
	}
}

// TestReadmeRecipes runs the recipes of the README, each a line, with a program
// that makes requests in the place of those that they name.
func TestReadmeRecipes(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	_, section, ok := strings.Cut(string(readFile(t, "../README.md")), "## Five recipes\n")
	section, _, ok2 := strings.Cut(section, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the README has no recipes")
	}
	w := plainUser(t)
	bin := w.dir(t)
	program := fmt.Sprintf("#!/bin/sh\nexec curl -s -o /dev/null --cacert %s %s/json/recipe\n", ca, s.URL)
	for _, name := range []string{"npm", "go", "my-client"} {
		os.WriteFile(filepath.Join(bin, name), []byte(program), 0o755)
	}
	os.Chmod(bin, 0o755)
	recipes := 0
	for line := range strings.Lines(section) {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		recipes++
		t.Run(fmt.Sprint(recipes), func(t *testing.T) {
			before := len(s.Log())
			cmd := w.command(t, "bash", "-e", "-c", "cp "+bin+"/my-client .; "+line)
			cmd.Env = append(cmd.Env, "BROWSER=true", "PATH="+bin+":"+filepath.Dir(clipper(t))+":"+os.Getenv("PATH"))
			if r := finish(t, cmd); r.code != 0 {
				t.Errorf("%s: exit %d\n%s%s", line, r.code, r.stdout, r.stderr)
			}
			if len(s.Log()) == before {
				t.Error("nothing was requested")
			}
		})
	}
	if recipes != 5 {
		t.Errorf("%d recipes", recipes)
	}
}
