package captioner

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestJoinedCaptions(t *testing.T) {
	w := Wording{Join: true, Styles: map[string]string{"line": "outline", "emoji": "emoji"}}
	s := newSource([]string{"shopping cart", "trolley", "shopping cart, shop", "outline shopping cart"}, map[string]string{"style": "line"}, w)
	if s.name != "shopping cart" || s.style != "outline" || !slices.Equal(s.phrases, []string{"trolley", "shop"}) {
		t.Fatalf("%+v", s)
	}
	seen := map[string]int{}
	rng := rand.New(rand.NewPCG(1, 1))
	const draws = 2000
	styled, longer := 0, 0
	for range draws {
		c := s.draw(rng)
		seen[c]++
		if !strings.Contains(c, "shopping cart") {
			t.Fatalf("%q does not name the thing", c)
		}
		if strings.Contains(c, "outline") {
			styled++
		}
		if strings.Contains(c, ",") {
			longer++
		}
	}
	for _, want := range []string{
		"shopping cart", "outline shopping cart", "shopping cart, shop", "shopping cart, trolley, shop",
		"outline shopping cart, trolley", "trolley, shopping cart", "outline trolley, shopping cart, shop",
	} {
		if seen[want] == 0 {
			t.Errorf("%q is never drawn", want)
		}
	}
	if styled < draws/4 || styled > draws/2 || longer < draws*3/4 {
		t.Errorf("of %d captions %d name the style, %d say more than the name", draws, styled, longer)
	}
	for c := range seen {
		parts := strings.Split(c, ", ")
		slices.Sort(parts)
		if len(slices.Compact(parts)) != strings.Count(c, ",")+1 {
			t.Errorf("%q repeats itself", c)
		}
	}
}

func TestDrawnCaptionsAreTheGivenOnes(t *testing.T) {
	texts := []string{"A dog, asleep, on a sofa.", "A sleeping dog."}
	s := newSource(texts, nil, Wording{})
	rng := rand.New(rand.NewPCG(1, 1))
	counts := map[string]int{}
	for range 100 {
		counts[s.draw(rng)]++
	}
	if len(counts) != 2 || counts[texts[0]] < 25 || counts[texts[1]] < 25 {
		t.Error(counts)
	}
}

func TestSamplesOfOneNameLendTheirPhrases(t *testing.T) {
	w := Wording{Join: true}
	sources := []source{
		newSource([]string{"cart", "cart, shopping"}, nil, w),
		newSource([]string{"cart", "trolley", "shopping"}, nil, w),
		newSource([]string{"cart"}, nil, w),
		newSource([]string{"cat"}, nil, w),
		{}, // a sample without text
	}
	lend(sources)
	for i, want := range [][]string{{"shopping"}, {"trolley", "shopping"}, {"shopping"}, nil, nil} {
		if !slices.Equal(sources[i].phrases, want) {
			t.Errorf("%d: %q, want %q", i, sources[i].phrases, want)
		}
	}
}

func TestTidy(t *testing.T) {
	for in, want := range map[string]string{
		"shopping cart , shop ,": "shopping cart, shop", " a t - shirt": "a t-shirt", ", dog": "dog", ",": "", "man ' s hat": "man's hat",
	} {
		if got := tidy(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
