// Package doctor judges whether this machine has what ARF needs, and says for everything missing which command
// mends it. Gather looks at the machine, Check judges what was found, Write prints it: `arf doctor` is the three in
// a row.
package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Level says how bad a finding is.
type Level int

// From good to bad.
const (
	OK      Level = iota
	Warning       // works, but slower or only in part
	Failure       // the demo will not run
)

func (l Level) String() string { return [...]string{"ok", "warning", "FAIL"}[l] }

// Finding is the result of one check.
type Finding struct {
	Name   string // what was checked, such as "engine"
	Level  Level
	Detail string // what was found
	Mend   string // command or advice that mends it; empty when nothing needs it or nothing can
}

// Worst is the gravest level of the findings.
func Worst(findings []Finding) Level {
	if len(findings) == 0 {
		return OK
	}
	return slices.MaxFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Level, b.Level) }).Level
}

// Write prints one line a finding, and one more for its mend.
func Write(w io.Writer, findings []Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Level, f.Name, f.Detail)
		if f.Mend != "" {
			fmt.Fprintf(t, "\t\tmend: %s\n", f.Mend)
		}
	}
	return t.Flush()
}
