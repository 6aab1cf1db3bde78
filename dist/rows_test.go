package dist_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"arf/dist"
	"arf/internal/disttest"
)

// gathersRows prints what comes of ranks that have 3, 0, 1 and 4 rows, short
// ones that travel in one round and long ones of which few do.
func gathersRows(_ context.Context, g *dist.Group, _ []string) error {
	for _, dim := range []int{2, 3 << 19} {
		rows := make([]float32, dim*[]int{3, 0, 1, 4}[g.Rank()])
		for i := range rows {
			rows[i] = float32(100*g.Rank() + i/dim)
			if i%dim == dim-1 {
				rows[i] += 0.5
			}
		}
		err := g.GatherRows(rows, dim, func(rank, first int, rows []float32) {
			for i := range len(rows) / dim {
				fmt.Println(rank, first+i, rows[i*dim], rows[(i+1)*dim-1])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRowsOfAllProcesses(t *testing.T) {
	for i, got := range disttest.Run(t, 4, "rows") {
		lines := strings.Split(strings.TrimSpace(got), "\n")
		for k, part := range [][]string{lines[:len(lines)/2], lines[len(lines)/2:]} {
			seen := map[string]bool{}
			for _, line := range part {
				seen[line] = true
			}
			for rank, n := range []int{3, 0, 1, 4} {
				for row := range n {
					if want := fmt.Sprintf("%d %d %d %d.5", rank, row, 100*rank+row, 100*rank+row); !seen[want] {
						t.Errorf("rank %d has no %q among\n%s", i, want, strings.Join(part, "\n"))
					}
				}
			}
			if len(part) != 8 {
				t.Errorf("rank %d, case %d: %d rows, want 8", i, k, len(part))
			}
		}
	}
	var alone *dist.Group
	if err := alone.GatherRows(make([]float32, 3), 2, func(int, int, []float32) {}); err == nil {
		t.Error("half a row is taken")
	}
	count := 0
	if err := alone.GatherRows(make([]float32, 6), 2, func(_, _ int, rows []float32) { count += len(rows) }); err != nil || count != 6 {
		t.Errorf("alone %d numbers, %v", count, err)
	}
}

// nested calls a collective, Lead and Agree where the others wait in Lead. A panic there leaves the group usable.
func nested(_ context.Context, g *dist.Group, _ []string) error {
	err := g.Lead(func() error {
		fmt.Println(g.Barrier())
		ran := false
		fmt.Println(g.Lead(func() error { ran = true; return nil }), ran)
		_, err := dist.Agree(g, func() (string, error) { return "inner", nil })
		fmt.Println(err)
		return nil
	})
	if err != nil {
		return err
	}
	if g.Leads() { // only here, as the others would wait for what isn't found
		panicked := func() (panicked bool) {
			defer func() { panicked = recover() != nil }()
			_ = g.Lead(func() error { panic("found nothing") })
			return false
		}()
		fmt.Println(panicked)
	}
	said, err := dist.Agree(g, func() (string, error) { return "outer", nil })
	fmt.Println(said)
	return errors.Join(err, g.Barrier())
}

func TestACollectiveInsideOfLeadIsAnError(t *testing.T) {
	const refused = "a collective inside of Agree or Lead, where the other processes wait for rank 0 and take no part"
	out := disttest.Run(t, 2, "nested")
	want := refused + "\n" + refused + " false\n" + refused + "\ntrue\nouter\n"
	if out[0] != want || out[1] != "outer\n" {
		t.Errorf("%q", out)
	}
}
