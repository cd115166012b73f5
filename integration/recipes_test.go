package integration

import (
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
