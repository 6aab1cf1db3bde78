package cli

import "github.com/spf13/cobra"

// commands lists what arf can do, in the order of its help.
func commands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		newPretrain(s),
	}
}
