package report

import (
	"slices"

	"github.com/goccy/go-yaml"
)

// named is what a run's config.yaml names. Its folder may hold more, of earlier
// calls with other methods, seeds and settings; it stays for when they come back.
type named struct {
	Methods []string `yaml:"methods"`
	Seeds   []int    `yaml:"seeds"`
}

// readNamed names all where config.yaml can't be read, or says nothing of it.
func readNamed(config string) named {
	var n named
	if err := yaml.Unmarshal([]byte(config), &n); err != nil {
		return named{}
	}
	return n
}

func (n named) has(method string, seed int) bool {
	return (len(n.Methods) == 0 || slices.Contains(n.Methods, method)) && (len(n.Seeds) == 0 || slices.Contains(n.Seeds, seed))
}
