// Command arf finetunes CLIP with anchors. See README.md.
package main

import (
	"os"

	"arf/internal/cli"
)

func main() { os.Exit(cli.Main()) }
