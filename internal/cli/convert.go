package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"arf/clip"
	"arf/eval"
	"arf/torch"

	"github.com/spf13/cobra"
)

func newConvert(s *settings) *cobra.Command {
	var layout, dtype, architecture string
	var imageSize int
	var quick, force bool
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write a model in Hugging Face's or open_clip's layout",
		Long: `Read a CLIP and write it into the folder OUT, in the layout of Hugging Face
(CLIPModel.from_pretrained) or of open_clip (create_model, "local-dir:OUT").

IN is a folder in either layout (safetensors or .bin, whole or in shards), or a
checkpoint file: open_clip's training .pt or OpenAI's .pt; or a model of the
Hugging Face hub (organisation/name), which is fetched. A checkpoint file
doesn't say everything; what is guessed is printed, and --architecture says it
instead. Weights keep their number type unless --dtype says otherwise; the same
type and layout give back the same bits.`,
		Example: `  arf convert ViT-B-32.pt clip-vit-base-patch32 --layout hf
  arf convert epoch_32.pt out --architecture ViT-B-32-quickgelu --layout openclip --dtype bf16
  arf convert clip-vit-large-patch14 clip-336 --image-size 336`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := clip.ConvertOptions{
				Load: clip.LoadOptions{ImageSize: imageSize, Architecture: architecture, ForceQuickGELU: quick},
				Save: clip.SaveOptions{Layout: clip.Layout(layout)}, Force: force,
			}
			if o.Save.Layout != "" && o.Save.Layout != clip.HuggingFace && o.Save.Layout != clip.OpenCLIP {
				return fmt.Errorf("--layout %q: want %s or %s", layout, clip.HuggingFace, clip.OpenCLIP)
			}
			if cmd.Flags().Changed("image-size") && imageSize < 1 {
				return fmt.Errorf("--image-size %d: must be at least 1", imageSize)
			}
			var err error
			if o.Save.DType, err = parseDType(dtype); err != nil {
				return err
			}
			if _, err := s.engine(); err != nil { // --threads
				return err
			}
			in, err := findModel(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out := args[1]
			o.Save.Card = &clip.Card{
				Name: filepath.Base(filepath.Clean(out)), BaseModel: args[0], License: clip.License(in), Command: strings.Join(os.Args, " "),
			}
			m, saved, err := clip.Convert(in, out, o)
			if err != nil {
				return err
			}
			if err := eval.CopyZeroShot(in, out); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "read %s: %s, %s layout, %.1f million parameters, %v\n",
				m.Source.Weights, m.Config.Architecture(), m.Source.Layout, float64(m.Config.Parameters())/1e6, m.Source.DType)
			fmt.Fprintf(w, "wrote %s: %s layout, %v\n", out, saved.Layout, saved.DType)
			return nil
		},
	}
	c.Flags().StringVar(&layout, "layout", "", "hf or openclip (default hf where it can hold the model)")
	c.Flags().StringVar(&dtype, "dtype", "", "fp32, fp16 or bf16 (default as in IN)")
	c.Flags().IntVar(&imageSize, "image-size", 0, "pixels a side, where not IN's: a ViT's positions are interpolated as open_clip does")
	c.Flags().StringVar(&architecture, "architecture", "", "open_clip's name for a checkpoint file's, such as ViT-B-32-quickgelu")
	c.Flags().BoolVar(&quick, "force-quick-gelu", false, "the checkpoint file was trained with OpenAI's activation")
	c.Flags().BoolVar(&force, "force", false, "write into OUT though it isn't empty; a model there is replaced")
	return c
}

// parseDType reads a number type of weights; 0 for "".
func parseDType(name string) (torch.DType, error) {
	switch name {
	case "":
		return 0, nil
	case "fp32":
		return torch.Float32, nil
	case "fp16":
		return torch.Float16, nil
	case "bf16":
		return torch.BFloat16, nil
	}
	return 0, fmt.Errorf("--dtype %q: want fp32, fp16 or bf16", name)
}
