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
