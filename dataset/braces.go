package dataset

import (
	"fmt"
	"strconv"
	"strings"
)

const maxExpansion = 1 << 20

// expand writes out "{00000..00009}" and "{a,b}", as the shell does; ranges
// keep their leading zeros. Several braces multiply; they don't nest.
func expand(pattern string) ([]string, error) {
	out := []string{""}
	rest := pattern
	for rest != "" {
		before, after, ok := strings.Cut(rest, "{")
		choices := []string{before}
		if ok {
			inside, tail, closed := strings.Cut(after, "}")
			if !closed {
				return nil, fmt.Errorf("%q: a { without its }", pattern)
			}
			alternatives, err := choicesOf(inside)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", pattern, err)
			}
			choices = choices[:0]
			for _, a := range alternatives {
				choices = append(choices, before+a)
			}
			rest = tail
		} else {
			rest = ""
		}
		if len(out)*len(choices) > maxExpansion {
			return nil, fmt.Errorf("%q: more than %d files", pattern, maxExpansion)
		}
		next := make([]string, 0, len(out)*len(choices))
		for _, o := range out {
			for _, c := range choices {
				next = append(next, o+c)
			}
		}
		out = next
	}
	return out, nil
}

func choicesOf(inside string) ([]string, error) {
	first, last, isRange := strings.Cut(inside, "..")
	if !isRange {
		return strings.Split(inside, ","), nil
	}
	from, errFrom := strconv.Atoi(first)
	to, errTo := strconv.Atoi(last)
	if errFrom != nil || errTo != nil || from < 0 || to < from {
		return nil, fmt.Errorf("{%s}: a range must be {first..last} in numbers, first ≤ last", inside)
	}
	if to-from >= maxExpansion {
		return nil, fmt.Errorf("{%s}: more than %d files", inside, maxExpansion)
	}
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprintf("%0*d", len(first), n))
	}
	return out, nil
}
