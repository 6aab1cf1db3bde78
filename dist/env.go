package dist

import (
	"fmt"
	"os"
	"strconv"

	"arf/torch"
)

// Env is a process's place among those that compute together.
type Env struct {
	Rank, Size           int // of all processes; rank 0 leads
	LocalRank, LocalSize int // of those on this machine
	// Addr and Port are where rank 0 is reached.
	Addr string
	Port int

	// served: torchrun itself serves the rendezvous, so that rank 0 doesn't, and all
	// take a prefix for each of its restarts (PyTorch 1.13's
	// torch/distributed/rendezvous.py, _create_c10d_store; 2.x begins each restart
	// with a new store).
	served bool
	prefix string
}

// FromEnv reads the variables that torchrun and Kubeflow's PyTorchJob set, and
// `arf launch`: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
// MASTER_PORT. It is nil for a process alone: without WORLD_SIZE, or with 1.
func FromEnv() (*Env, error) { return fromEnv(os.LookupEnv) }

func fromEnv(lookup func(string) (string, bool)) (*Env, error) {
	number := func(name string, least, otherwise int) (int, error) {
		text, ok := lookup(name)
		if !ok && otherwise >= least {
			return otherwise, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return 0, fmt.Errorf("environment variable %s is %q; want a number of at least %d, as torchrun, PyTorchJob or `arf launch` set it", name, text, least)
		}
		return n, nil
	}
	e := &Env{}
	var err error
	if e.Size, err = number("WORLD_SIZE", 1, 1); err != nil || e.Size == 1 {
		return nil, err
	}
	if e.Rank, err = number("RANK", 0, -1); err != nil {
		return nil, err
	}
	if e.Rank >= e.Size {
		return nil, fmt.Errorf("environment variable RANK is %d, but WORLD_SIZE %d; ranks count from 0", e.Rank, e.Size)
	}
	if e.LocalRank, err = number("LOCAL_RANK", 0, 0); err != nil {
		return nil, err
	}
	if e.LocalSize, err = number("LOCAL_WORLD_SIZE", 1, 1); err != nil {
		return nil, err
	}
	if e.Port, err = number("MASTER_PORT", 1, 0); err != nil {
		return nil, err
	}
	if e.Port > 65535 {
		return nil, fmt.Errorf("environment variable MASTER_PORT is %d; ports end at 65535", e.Port)
	}
	if e.Addr, _ = lookup("MASTER_ADDR"); e.Addr == "" {
		return nil, fmt.Errorf("environment variable MASTER_ADDR is not set; it names the machine of rank 0")
	}
	if agent, _ := lookup("TORCHELASTIC_USE_AGENT_STORE"); agent == "True" {
		attempt, _ := lookup("TORCHELASTIC_RESTART_COUNT")
		e.served, e.prefix = true, "/worker/attempt_"+attempt
	}
	return e, nil
}

// Device reads a device as torch.ParseDevice does, but "auto" and "cuda" are the
// GPU of this process's number on its machine.
func (e *Env) Device(name string) (torch.Device, error) {
	d, err := torch.ParseDevice(name)
	if err != nil || !d.IsCUDA() || (name != "" && name != "auto" && name != "cuda") {
		return d, err
	}
	if n := torch.CUDADevices(); e.LocalRank >= n {
		return d, fmt.Errorf("process %d of this machine has no GPU: there are %d; start at most as many processes as GPUs, or use --device cpu", e.LocalRank, n)
	}
	return torch.CUDA(e.LocalRank), nil
}
