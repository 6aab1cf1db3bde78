package anchor

import (
	"context"
	"slices"
	"testing"

	"arf/captioner"
)

func TestPairCaptioner(t *testing.T) {
	c := NewPairCaptioner([]Pair{
		{QueryKey: "a", Rank: 1, Text: "Red car"}, {QueryKey: "a", Rank: 2, Text: "red car"},
		{QueryKey: "a", Rank: 3, Text: "truck"}, {QueryKey: "a", Rank: 4, Text: "bus"}, {QueryKey: "b", Rank: 1, Text: "dog"},
	})
	got, err := c.Caption(context.Background(), captioner.Images{Keys: []string{"b", "a", "none"}}, captioner.GenerateOptions{N: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"dog"}, {"Red car", "truck"}, nil} {
		var texts []string
		for _, caption := range got[i] {
			texts = append(texts, caption.Text)
			if !caption.NoLogProb {
				t.Errorf("%q has a log-probability", caption.Text)
			}
		}
		if !slices.Equal(texts, want) {
			t.Errorf("image %d: %q, want %q", i, texts, want)
		}
	}
}
