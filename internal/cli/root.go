// Package cli is the arf command: flags, progress, messages. What the commands
// do stands in the packages that they call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"arf/config"
	"arf/dist"
	"arf/torch"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Main runs the command line and gives the exit status: 0, 1 after an error,
// 130 after an interruption that left a resumable run.
func Main() int {
	ctx, cancel := interruptible()
	defer cancel()
	root := newRoot()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "arf:", message(err))
	if errors.Is(err, context.Canceled) {
		return dist.ExitInterrupted
	}
	return 1
}

// message is an error for people; of an interruption it says how to go on.
func message(err error) string {
	if !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	text := strings.TrimSuffix(err.Error(), ": "+context.Canceled.Error())
	if !strings.Contains(text, "the same command") {
		text += ": stopped; the same command goes on from what is done"
	}
	return text
}

// interruptible ends its context at the first Ctrl-C, SIGTERM or closed
// terminal, so that work is saved; the second one quits at once.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as it is below nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\narf: finishing the step and saving; press Ctrl-C again to quit at once")
		cancel()
		<-signals
		os.Exit(130)
	}()
	return ctx, cancel
}

// settings are the flags that every command has.
type settings struct {
	device  string
	threads int
	verbose bool
}

func newRoot() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "arf",
		Short: "Finetune CLIP without losing what it knew",
		Long: `arf finetunes CLIP on labelled images and keeps its accuracy under domain
shift and on classes it was not finetuned on, by anchors: captions of the
images, and retrieved image-text pairs (Anchor-based Robust Finetuning, CVPR 2024).`,
		Example: `  arf demo                              # the icon benchmark, from data to report
  arf run configs/own-data.yaml         # your images, your checkpoint
  arf doctor                            # what is missing on this machine`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if s.verbose {
				level = slog.LevelDebug
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(&once{os.Stderr, map[string]bool{}}, &slog.HandlerOptions{Level: level, ReplaceAttr: dropTime})))
			return refuseRanks(cmd)
		},
	}
	root.PersistentFlags().StringVar(&s.device, "device", "auto", "where to compute: auto, cpu, cuda or cuda:N")
	root.PersistentFlags().IntVar(&s.threads, "threads", 0, "CPU threads of one operation (0 = all cores)")
	root.PersistentFlags().BoolVar(&s.verbose, "verbose", false, "more messages")
	root.SetFlagErrorFunc(suggestFlag)
	root.AddCommand(commands(&s)...)
	return root
}

// suggestFlag says which flag was probably meant.
func suggestFlag(cmd *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := config.Nearest(name, known); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w; %s --help lists those that there are", err, cmd.CommandPath())
}

// dropTime leaves the time out of messages for people.
func dropTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

// engine loads libtorch and picks the device.
func (s *settings) engine() (torch.Device, error) {
	d, err := torch.ParseDevice(s.device)
	if err != nil {
		return d, err
	}
	if s.threads < 0 {
		return d, fmt.Errorf("--threads %d: want 0 for all cores, or a positive number", s.threads)
	}
	if s.threads > 0 {
		torch.SetThreads(s.threads)
	}
	return d, nil
}
