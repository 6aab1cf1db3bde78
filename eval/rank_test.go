package eval

import "testing"

func TestScoresStayWithinTheirBound(t *testing.T) {
	for m, want := range map[int]int{1: blockRows, 1 << 16: blockRows, 1<<16 + 1: blockRows - 1, 1 << 20: 16, 1 << 30: 1} {
		rows := rowsAtOnce(m)
		if held := 2 * 4 * rows * m; rows != want || rows > 1 && held > 128<<20 {
			t.Errorf("%d columns: %d rows, want %d; %d bytes are held", m, rows, want, held)
		}
	}
}
