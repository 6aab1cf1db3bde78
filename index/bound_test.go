package index

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"arf/torch"
)

// nearTies gives queries and rows of which all that are near to a query, one in
// queries, are nearly as near as its nearest: bfloat16 doesn't tell their products apart.
func nearTies(rows, queries, dim int) (index, asking Dense) {
	rng := rand.New(rand.NewPCG(7, 0))
	asking, index = random(queries, dim, 8), Dense{Columns: dim, Data: make([]float32, rows*dim)}
	for i := range rows {
		row, near := index.Row(i), asking.Row(i%queries)
		for j := range row {
			row[j] = near[j] + float32(rng.NormFloat64()*0.1/math.Sqrt(float64(dim)))
		}
		unit(row)
	}
	return index, asking
}

// A search in bfloat16 gives float32's rows and scores, also where bfloat16 alone
// would give others.
func TestExactInBFloat16IsFloat32s(t *testing.T) {
	if !torch.CPU.HasBF16() {
		t.Skip("this CPU has no bfloat16")
	}
	const k = 20
	rows, queries := nearTies(20_000, 100, 256)
	want, err := (&Exact{Vectors: rows}).Search(t.Context(), queries, k)
	if err != nil {
		t.Fatal(err)
	}
	got, s, err := (&Exact{Vectors: rows, Precision: torch.BFloat16, BlockRows: 4000, BlockQueries: 37}).search(t.Context(), queries, k)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Scores {
		q := i / k
		if exact := dot(queries.Row(q), rows.Row(int(got.Rows[i]))); got.Scores[i] != exact {
			t.Fatalf("query %d: row %d has score %v, want float32's %v", q, got.Rows[i], got.Scores[i], exact)
		}
		if math.Abs(float64(got.Scores[i]-want.Scores[i])) > 1e-6 { // which adds up in another order
			t.Errorf("query %d, place %d: score %v, in float32 %v", q, i%k, got.Scores[i], want.Scores[i])
		}
	}
	if r := recall(want, got); r != 1 {
		t.Errorf("recall@%d is %v", k, r)
	}
	compared := rows.Len() * queries.Len()
	t.Logf("%d of %d pairs by bounds, %d of them scored again", s.bounded, compared, s.scored)
	if s.bounded < compared*3/4 || s.scored > compared/20 {
		t.Errorf("of %d pairs %d were compared in bfloat16, %d scored again", compared, s.bounded, s.scored)
	}
	// The rows are such that rounded products rank them otherwise.
	torch.Scope(func() {
		x, y := torch.From(torch.CPU, rows.Data, rows.Len(), 256), torch.From(torch.CPU, queries.Data, queries.Len(), 256)
		products := y.Cast(torch.BFloat16).MatMul(x.Cast(torch.BFloat16).Transpose(0, 1))
		rounded := &Neighbors{K: k}
		values, at := products.Cast(torch.Float32).TopK(k)
		rounded.Scores = torch.To[float32](values)
		for _, row := range torch.To[int64](at) {
			rounded.Rows = append(rounded.Rows, int32(row))
		}
		for i, row := range rounded.Rows {
			rounded.Scores[i] = dot(queries.Row(i/k), rows.Row(int(row)))
		}
		r := recall(want, rounded)
		t.Logf("recall@%d of products in bfloat16 is %.3f", k, r)
		if r > 0.8 {
			t.Errorf("products in bfloat16 have recall %.3f: these rows prove nothing", r)
		}
	})
}

// Ties, queries of zeros, excluded rows, rows of other lengths, and block sizes at which
// groups are cut: what float32 finds, bfloat16 finds.
func TestBFloat16OfOddRows(t *testing.T) {
	if !torch.CPU.HasBF16() {
		t.Skip("this CPU has no bfloat16")
	}
	const dim = 24
	rng := rand.New(rand.NewPCG(1, 1))
	rows, queries := random(5000, dim, 3), random(40, dim, 4)
	for i := range rows.Len() {
		row := rows.Row(i)
		switch rng.IntN(8) {
		case 0:
			row[dim-1] = Excluded
		case 1:
			copy(row, rows.Row(i/2))
		case 2:
			clear(row)
		case 3:
			for j := range row {
				row[j] *= float32(math.Exp(rng.NormFloat64()))
			}
		}
	}
	for q := range queries.Len() {
		queries.Row(q)[dim-1] = 1 // what is excluded by
	}
	clear(queries.Row(5))
	queries.Row(6)[dim-1] = 0
	copy(queries.Row(7), rows.Row(4321))
	queries.Row(7)[dim-1] = 1
	copy(rows.Row(rows.Len()-1), queries.Row(8)) // the row that groups are filled up with
	for _, c := range []struct{ k, blockRows, blockQueries int }{{1, 0, 0}, {10, 0, 7}, {10, 1000, 40}, {10, 77, 11}, {1200, 64, 0}, {5000, 999, 40}} {
		want, err := (&Exact{Vectors: rows}).Search(t.Context(), queries, c.k)
		if err != nil {
			t.Fatal(err)
		}
		e := &Exact{Vectors: rows, Precision: torch.BFloat16, BlockRows: c.blockRows, BlockQueries: c.blockQueries}
		calls, last := 0, 0
		e.Progress = func(done, total int) { calls++; last = total - done }
		got, s, err := e.search(t.Context(), queries, c.k)
		if err != nil {
			t.Fatal(err)
		}
		if calls == 0 || last != 0 || c.k < 1000 && s.bounded == 0 {
			t.Errorf("%+v: %d calls, %d left; %d bounded", c, calls, last, s.bounded)
		}
		for i := range want.Scores {
			size := max(1, math.Abs(float64(want.Scores[i])))
			if math.Abs(float64(got.Scores[i]-want.Scores[i])) > 2e-6*size {
				t.Fatalf("%+v, query %d, place %d: score %v, in float32 %v", c, i/c.k, i%c.k, got.Scores[i], want.Scores[i])
			}
			if i%c.k > 0 && got.Scores[i] == got.Scores[i-1] && got.Rows[i] < got.Rows[i-1] {
				t.Fatalf("%+v, query %d: of equal rows %d and %d the later is first", c, i/c.k, got.Rows[i-1], got.Rows[i])
			}
		}
	}
}

// A few rows that aren't numbers hide no others.
func TestBFloat16BesideNaN(t *testing.T) {
	if !torch.CPU.HasBF16() {
		t.Skip("this CPU has no bfloat16")
	}
	rows, queries := random(3000, 16, 3), random(5, 16, 4)
	want, err := (&Exact{Vectors: rows}).Search(t.Context(), queries, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1500; i < rows.Len(); i += 100 {
		if !slices.Contains(want.Rows, int32(i)) {
			rows.Row(i)[i%16] = float32(math.NaN())
		}
	}
	got, err := (&Exact{Vectors: rows, Precision: torch.BFloat16}).Search(t.Context(), queries, 5)
	if err != nil || !slices.Equal(got.Rows, want.Rows) {
		t.Errorf("rows %v, want %v; %v", got.Rows, want.Rows, err)
	}
}

// What above leaves out isn't above the threshold, whatever the lengths; what it
// names is near it.
func TestBoundsAreAbove(t *testing.T) {
	if !torch.CPU.HasBF16() {
		t.Skip("this CPU has no bfloat16")
	}
	const dim, n, q = 96, 700, 50
	rng := rand.New(rand.NewPCG(5, 0))
	rows, queries := random(n, dim, 1), random(q, dim, 2)
	for i := range n {
		size := float32(math.Exp(3 * rng.NormFloat64()))
		for j := range dim {
			rows.Row(i)[j] *= size
		}
	}
	products := func(i, j int) float64 {
		sum := 0.0
		for d := range dim {
			sum += float64(queries.Row(i)[d]) * float64(rows.Row(j)[d])
		}
		return sum
	}
	for _, share := range []float64{0, 1e-4, 0.005} { // thresholds a little below real products
		var thresholds []float32
		for i := range q {
			s := products(i, rng.IntN(n))
			thresholds = append(thresholds, float32(s-share*math.Abs(s)))
		}
		torch.Scope(func() {
			b := newBounds(torch.From(torch.CPU, rows.Data, n, dim))
			for i := range q {
				// One at a time, as many may be above.
				found := map[int]bool{}
				pairs, few := b.above(torch.From(torch.CPU, queries.Row(i), 1, dim), thresholds[i:i+1])
				for _, p := range pairs {
					found[p.row] = true
				}
				over := 0
				for j := range n {
					s, c := products(i, j), float64(thresholds[i])
					length := math.Sqrt(float64(dot(rows.Row(j), rows.Row(j))))
					if s > c {
						over++
						if few && !found[j] {
							t.Errorf("query %d, row %d: %v is above %v and isn't found", i, j, s, c)
						}
					} else if found[j] && c-s > 0.01*length+0.001*math.Abs(c) {
						t.Errorf("query %d, row %d of length %v: %v is found for %v", i, j, length, s, c)
					}
				}
				if !few && over == 0 {
					t.Errorf("query %d: all rows are too many", i)
				}
			}
		})
	}
}

// All numbers are rounded down by nearly as much as can be: of the rows, of the
// queries, of both.
func TestBoundsOfTheWorstRounding(t *testing.T) {
	if !torch.CPU.HasBF16() {
		t.Skip("this CPU has no bfloat16")
	}
	const dim = 64
	even, odd := make([]float32, dim), make([]float32, dim)
	for j := range dim {
		even[j], odd[j] = 0.125, 0.125*(1+0x1p-8-0x1p-14)
	}
	for name, c := range map[string][2][]float32{"row": {odd, even}, "query": {even, odd}, "both": {odd, odd}} {
		torch.Scope(func() {
			const rows, queries = 64, 100
			product := dot(c[0], c[1])
			limits := slices.Repeat([]float32{product * 1.02}, queries)
			limits[77] = product * (1 - 1e-6) // few are found, or they'd not be told
			pairs, few := newBounds(torch.From(torch.CPU, slices.Repeat(c[0], rows), rows, dim)).
				above(torch.From(torch.CPU, slices.Repeat(c[1], queries), queries, dim), limits)
			if !few || len(pairs) != rows || pairs[0].query != 77 || pairs[rows-1].query != 77 {
				t.Errorf("%s: %d rows are found, want %d of query 77", name, len(pairs), rows)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	for range 10_000 {
		c := rng.NormFloat64() * math.Exp(5*rng.NormFloat64())
		first, second := split(c)
		for _, x := range []float32{first, second} {
			if math.Float32bits(x)&0xffff != 0 {
				t.Fatalf("%v: bfloat16 has no %v", c, x)
			}
		}
		if sum := float64(first) + float64(second); sum > c || sum < c-math.Abs(c)*0x1p-13 {
			t.Fatalf("%v becomes %v", c, sum)
		}
	}
	for _, c := range []float64{0, 1, -1, Excluded} {
		if first, second := split(c); float64(first)+float64(second) > c || c-float64(first)-float64(second) > 0x1p-13*math.Abs(c) {
			t.Errorf("%v becomes %v and %v", c, first, second)
		}
	}
}
