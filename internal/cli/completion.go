package cli

import (
	"strings"

	"arf/config"

	"github.com/spf13/cobra"
)

// completeKeys lets a shell complete the config's keys after a flag.
func completeKeys(c *cobra.Command, flag string) {
	keys := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		for _, k := range config.Keys() {
			if !strings.Contains(k, "[]") { // elements of lists are given with their list
				out = append(out, k+"=")
			}
		}
		return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc(flag, keys); err != nil {
		panic(err) // the flag isn't there
	}
}
