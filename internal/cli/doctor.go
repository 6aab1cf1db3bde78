package cli

import (
	"errors"

	"arf/faiss"
	"arf/imaging"
	"arf/internal/doctor"
	"arf/torch"

	"github.com/spf13/cobra"
)

func newDoctor(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, and say what mends what is missing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			engine := doctor.Engine{Err: torch.Load()}
			if engine.Err == nil {
				if _, err := s.engine(); err != nil {
					return err
				}
				engine.Library, engine.Version = torch.LibraryPath(), torch.Version()
				engine.CUDADevices, engine.Threads = torch.CUDADevices(), torch.Threads()
			}
			facts := doctor.Gather(cmd.Context(), engine, imaging.VipsVersion())
			facts.FAISS = faiss.Version()
			findings := doctor.Check(facts)
			if err := doctor.Write(cmd.OutOrStdout(), findings); err != nil {
				return err
			}
			if doctor.Worst(findings) == doctor.Failure {
				return errors.New("something that is needed is missing; see above")
			}
			return nil
		},
	}
}
