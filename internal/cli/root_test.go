package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"arf/train"
)

func TestMessageOfAnInterruption(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("hash of the data: %w", context.Canceled), "hash of the data: stopped; the same command goes on from what is done"},
		{fmt.Errorf("stopped after step 3; the same command goes on from there: %w", context.Canceled), "stopped after step 3; the same command goes on from there"},
		{errors.New("no such file"), "no such file"},
	} {
		if got := message(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := summary(train.Metrics{Skipped: true}, 8); strings.Contains(got, "0.000") || !strings.Contains(got, "skipped") {
		t.Errorf("a skipped step: %q", got)
	}
}

func TestMisspeltFlagsAndCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"run c.yaml --setx a=b":    "unknown flag: --setx; did you mean --set?",
		"eval m --template x":      "unknown flag: --template; did you mean --templates?",
		"doctor --something-else":  "unknown flag: --something-else; arf doctor --help lists",
		"pretrain clip c --sead 1": "did you mean --seed?",
	} {
		root := newRoot()
		root.SetArgs(strings.Fields(args))
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", args, err, want)
		}
	}
	root := newRoot()
	var out strings.Builder
	root.SetOut(&out)
	root.SetArgs([]string{"__complete", "run", "--set", "train.l"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "train.lr=\n") {
		t.Errorf("completion of --set lacks train.lr=:\n%s", out.String())
	}
}
