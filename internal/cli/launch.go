package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"arf/dist"
	"arf/torch"

	"github.com/spf13/cobra"
)

// together marks the commands that several processes can do together.
const together = "together"

func newLaunch() *cobra.Command {
	var n int
	c := &cobra.Command{
		Use:   "launch --nproc N -- COMMAND…",
		Short: "Run a command of arf on several processes of this machine together",
		Long: `Start COMMAND, one of arf's, N times: the processes share each batch and the rest
of the work, and give the results of one. On GPUs start one for each. For several
machines use torchrun --no-python, Slurm or Kubeflow (docs/scaling.md).

Lines are printed with the rank of the process. When one dies, all say which and
stop; the same command, with any N, goes on.`,
		Example: "  arf launch --nproc 2 -- run configs/own-data.yaml\n  arf launch --nproc 8 -- embed MODEL photos/ --out features",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("give the command after --, as in: arf launch --nproc 2 -- run my.yaml")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if found.Annotations[together] == "" {
				return alone(found)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return dist.Launch(cmd.Context(), n, append([]string{self}, args...), os.Stdout, os.Stderr)
		},
	}
	c.Flags().IntVar(&n, "nproc", 0, "processes")
	_ = c.MarkFlagRequired("nproc")
	return c
}

func alone(c *cobra.Command) error {
	return fmt.Errorf("%s runs in one process; start it by itself, without WORLD_SIZE", c.CommandPath())
}

// refuseRanks ends a command that can't share its work before it does the same
// thing several times.
func refuseRanks(c *cobra.Command) error {
	e, err := dist.FromEnv()
	if err != nil {
		return err
	}
	if e != nil && c.Annotations[together] == "" {
		return alone(c)
	}
	return nil
}

// inGroup does work in the group of processes that the environment names, or by
// this process alone with a nil group. threads are those that the user asked
// for; 0 divides the cores among the machine's processes.
func inGroup(ctx context.Context, device string, threads int, work func(ctx context.Context, g *dist.Group) error) (err error) {
	e, err := dist.FromEnv()
	if err != nil {
		return err
	}
	if e == nil {
		return work(ctx, nil)
	}
	d, err := e.Device(device)
	if err != nil {
		return err
	}
	if threads == 0 {
		torch.SetThreads(max(1, runtime.NumCPU()/e.LocalSize))
	}
	g, err := dist.Open(ctx, e, d, dist.Options{})
	if err != nil {
		return err
	}
	slog.Info("works with others", "rank", e.Rank, "processes", e.Size, "device", d, "threads", torch.Threads())
	err = errors.New("it crashed") // unless work returns
	defer func() { err = g.Close(err) }()
	ctx, cancel := g.Context(ctx)
	defer cancel()
	err = work(ctx, g)
	return err
}

// in gives the settings of one of several processes, which has its own device.
func (s *settings) in(g *dist.Group) *settings {
	own := *s
	if g != nil {
		own.device = g.Device().String()
	}
	return &own
}

// fetchOnce has rank 0 fetch a model of the hub before the others look for it.
func fetchOnce(ctx context.Context, g *dist.Group, ref string) error {
	if g == nil {
		return nil
	}
	return g.Lead(func() error {
		_, err := findModel(ctx, ref)
		return err
	})
}
