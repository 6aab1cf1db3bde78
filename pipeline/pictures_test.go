package pipeline

import (
	"errors"
	"testing"

	"arf/dataset"
	"arf/remote"
)

// A server that fails is asked for one picture, not for each.
func TestPicturesOfAServerThatFails(t *testing.T) {
	failing := &failing{}
	k := &keyed{Dataset: failing, number: map[string]int{"a": 0, "b": 1}}
	for _, key := range []string{"a", "b", "a"} {
		if _, err := picture(func() (*keyed, error) { return k, nil }, key); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if failing.asked != 1 {
		t.Errorf("it was asked %d times", failing.asked)
	}
}

type failing struct{ asked int }

func (f *failing) Len() int { return 2 }
func (f *failing) Sample(int) (dataset.Sample, error) {
	f.asked++
	return dataset.Sample{}, remote.ErrUnavailable
}
