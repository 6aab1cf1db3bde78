package cli

import (
	"cmp"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

// commands lists what arf can do, in the order of its help.
func commands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		newData(),
		newReport(),
		newPretrain(s),
		newDoctor(s),
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
