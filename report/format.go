package report

import (
	"fmt"
	"math"
	"strings"
)

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// list joins names as a sentence does.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "the models"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// points is a share in percentage points with one decimal.
func points(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "–"
	}
	s := fmt.Sprintf("%.1f", 100*x)
	if s == "-0.0" {
		return "0.0"
	}
	return strings.Replace(s, "-", "−", 1)
}

// signed is points with a sign.
func signed(x float64) string {
	s := points(x)
	if x > 0 && s != "0.0" {
		return "+" + s
	}
	return s
}

// plural is a count with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
