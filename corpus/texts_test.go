package corpus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestWordings(t *testing.T) {
	ic := &icon{Set: "mdi", Icon: "camera", Name: "camera", Texts: []string{"photo", "camera", "photography"}, Category: "images", Style: StyleUnclear}
	want := []string{"camera", "photo", "photography", "camera, images"}
	if got := wordings(ic); !slices.Equal(got, want) {
		t.Errorf("wordings = %q, want %q", got, want)
	}
	long := &icon{Set: "noto", Icon: "x", Name: "cat", Texts: strings.Split("abcdefghij", ""), Style: StyleEmoji}
	if got := wordings(long); len(got) > maxWordings+1 || got[0] != "cat" {
		t.Errorf("%d wordings, want at most %d: %q", len(got), maxWordings+1, got)
	}
}

// A fifth of the wordings names a style, whatever the number of other wordings.
func TestStyleWordsAreAMinority(t *testing.T) {
	for _, others := range []int{0, 1, 3} {
		styled, all := 0, 0
		for i := range 4000 {
			ic := &icon{Set: "mdi", Icon: fmt.Sprint("icon-", i), Name: "camera", Style: StyleLine}
			for k := range others {
				ic.Texts = append(ic.Texts, fmt.Sprint("other ", k))
			}
			for _, text := range wordings(ic) {
				all++
				if strings.HasPrefix(text, "outline ") {
					styled++
				}
			}
		}
		if share := float64(styled) / float64(all); share < 0.18 || share > 0.22 {
			t.Errorf("%d other wordings: %.3f of the texts name a style, want 0.2", others, share)
		}
	}
}

func TestChanceIsUniformAndStable(t *testing.T) {
	if a, b := chance("mdi--camera", "order"), chance("mdi--camera", "order"); a != b || a == chance("mdi--camera", "style") {
		t.Error("chance isn't a function of both arguments")
	}
	var buckets [10]int
	for i := range 10_000 {
		buckets[int(10*chance(fmt.Sprint("mdi--icon-", i), "order"))]++
	}
	for i, n := range buckets {
		if n < 880 || n > 1120 {
			t.Errorf("bucket %d holds %d of 10000", i, n)
		}
	}
}
