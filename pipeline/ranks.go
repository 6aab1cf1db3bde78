package pipeline

import (
	"fmt"

	"arf/dist"
)

// sameData checks that all processes were given the same model and data.
func (r *run) sameData() error {
	type content struct {
		Model string
		Data  map[string]string
	}
	all, err := dist.GatherOf(r.group, content{r.modelHash, r.data.hashes})
	if err != nil {
		return err
	}
	for rank, c := range all {
		if c.Model != all[0].Model {
			return fmt.Errorf("model: rank %d has other weights in %s than rank 0; give all machines the same", rank, r.cfg.Model)
		}
		for key, hash := range all[0].Data {
			if c.Data[key] != hash {
				return fmt.Errorf("data: rank %d has other content than rank 0 for %s; give all machines the same", rank, key)
			}
		}
	}
	return nil
}

// agreed gives what rank 0 finds a step's inputs to be and whether there is
// anything to do: prepare is called at rank 0 only, where the files are.
func (r *run) agreed(prepare func() (inputs string, todo bool, err error)) (inputs string, todo bool, err error) {
	type plan struct {
		Inputs string
		Todo   bool
	}
	p, err := dist.Agree(r.group, func() (p plan, err error) {
		p.Inputs, p.Todo, err = prepare()
		return p, err
	})
	return p.Inputs, p.Todo, err
}
