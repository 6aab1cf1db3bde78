package pipeline

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"arf/config"
	"arf/internal/cliptest"
)

// What is done anew says which settings and data changed, and nothing else does;
// also where a call between had only a part of the run done.
func TestChangedSettingsAreNamed(t *testing.T) {
	dir := prepare(t)
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	do := func(last Step, sets ...string) string {
		t.Helper()
		log.Reset()
		if err := Run(context.Background(), load(t, dir, append([]string{"methods=[arf]"}, sets...)...), last, Options{}); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	// wants checks the lines that tell changes, in their order.
	wants := func(log string, want ...string) {
		t.Helper()
		var lines []string
		for line := range strings.Lines(log) {
			if strings.Contains(line, "changed=") {
				lines = append(lines, line)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("%d lines tell changes, want %q:\n%s", len(lines), want, log)
			return
		}
		for i, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("no %q in %s", w, lines[i])
			}
		}
	}
	wants(do(""))
	wants(do(""))
	faster := "train.lr=2e-4"
	wants(do(Captions, faster)) // which the captions don't depend on
	wants(do("", faster), `method=arf seed=0 changed="train.lr: 0.0001 → 0.0002" folder=`)
	// The eval folder goes with the weights, so it has nothing to tell.
	wants(do("", faster, "anchors.pairs.query=mix", "anchors.pairs.k=1", "anchors.captions.temperature=0.5"),
		`changed="anchors.captions.temperature: 1 → 0.5"`, `pairs=retrieved changed="anchors.pairs.k: 2 → 1; anchors.pairs.query: image → mix"`,
		`changed="content of captions; content of pairs" folder=`)
	do("", faster) // back
	wants(do("", faster, "eval.wise_alphas=[1]"), `msg="a model is evaluated anew" method=arf seed=0 changed="eval.wise_alphas: [0, 0.5, 1] → [1]"`)
	write(t, filepath.Join(dir, "templates.txt"), []byte("a photo of a {}.\nthe {}\n"))
	wants(do("", faster), `changed="train.templates: [a photo of a {}.] → [a photo of a {}., the {}]" folder=`)
	write(t, filepath.Join(dir, "test", "red", "9.png"), cliptest.Picture(t, "red", "disc", 900))
	wants(do("", faster), `pairs=retrieved changed="content of suite/test"`, `changed="content of test set test"`)
}

func TestChangesInWords(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("long ", 30)
	was := inputs{
		{contentOf + "model", "a"}, {"classes", []string{long, "cat"}}, {"secret", "https://user:pass@host/x"}, {"gone", "x"}, {"old", 0},
		{"train", config.Train{LR: 1e-4, Templates: config.List{Items: []string{"a {}"}}}},
	}
	if got := was.changes(dir); got != "" {
		t.Errorf("without a record: %s", got)
	}
	if err := was.save(dir); err != nil {
		t.Fatal(err)
	}
	if got := was.changes(dir); got != "" {
		t.Errorf("without a change: %s", got)
	}
	now := inputs{
		{contentOf + "model", "b"}, {"classes", []string{long, "dog"}}, {"secret", "https://user:word@host/y"}, {"new", false},
		{"train", config.Train{LR: 1e-4, Epochs: 3, Templates: config.List{Ref: "prompts.txt"}}},
	}
	want := "classes; content of model; gone: x → none; secret: https://host/x → https://host/y; train.epochs: 0 → 3; train.templates: [a {}] → prompts.txt"
	if got := now.changes(dir); got != want {
		t.Errorf("changes\n got: %s\nwant: %s", got, want)
	}
}
