package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/suite"

	"github.com/spf13/cobra"
)

func newClassify(s *settings) *cobra.Command {
	var classes, file, precision string
	var templates []string
	var top, batch, workers int
	var asJSON bool
	c := &cobra.Command{
		Use:   "classify MODEL IMAGE…",
		Short: "Classify images, zero-shot: which of your classes is on each",
		Long: `Print for each image its most probable classes: image, class and probability,
separated by tabs. The classes are any words. Folders stand for all images below
them. Images that can't be read are named and left out; the exit status is then 1.`,
		Example: `  arf classify openai/clip-vit-base-patch32 holiday.jpg --classes "cat,dog,a sunset"
  arf classify models/icon-clip icons/ --classes-file nouns.txt --template "a {} icon" --top 3 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New(`give a MODEL and at least one IMAGE or folder, as in: arf classify MODEL photo.jpg --classes "cat,dog"`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := chosenClasses(classes, file)
			if err != nil {
				return err
			}
			var prompts []string
			for _, t := range templates {
				more, err := suite.ReadTemplates(t)
				if err != nil {
					return err
				}
				prompts = append(prompts, more...)
			}
			images, err := dataset.Images(args[1:]...)
			if err != nil {
				return err
			}
			model, dir, dtype, err := s.loadModel(cmd.Context(), args[0], precision, clip.LoadOptions{})
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("template") {
				like, err := eval.LoadZeroShot(dir)
				if err != nil {
					return err
				}
				if like != nil {
					prompts = like.Templates
					fmt.Fprintf(os.Stderr, "arf: prompts: %s (from %s beside the model; --template gives others)\n", config.PromptsInWords(prompts), eval.ZeroShotFile)
				}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			line := func(p eval.Prediction) error {
				for _, g := range p.Classes {
					fmt.Fprintf(out, "%s\t%s\t%.4f\n", p.Image, g.Class, g.Probability)
				}
				return out.Flush()
			}
			if asJSON {
				encoder := json.NewEncoder(out)
				encoder.SetEscapeHTML(false)
				line = func(p eval.Prediction) error {
					if err := encoder.Encode(p); err != nil {
						return err
					}
					return out.Flush()
				}
			}
			o := eval.Options{BatchSize: batch, Workers: workers, Precision: dtype}
			return eval.Classify(cmd.Context(), model, images, names, prompts, top, o, line)
		},
	}
	f := c.Flags()
	f.StringVar(&classes, "classes", "", `classes, separated by commas: "cat,dog"`)
	f.StringVar(&file, "classes-file", "", "file with a class on each line (name, or name and tab and name in prompts)")
	f.StringArrayVar(&templates, "template", []string{"a photo of a {}."}, "prompt, {} standing for the class; a file of prompts; imagenet-80 or imagenet-7 (repeatable; features are averaged); MODEL's own where it was finetuned by arf")
	f.IntVar(&top, "top", 1, "classes that are printed of each image (0 = all)")
	f.BoolVar(&asJSON, "json", false, "print a JSON object for each image")
	f.StringVar(&precision, "precision", "fp32", "of the towers: fp32, bf16, or auto (bf16 where the hardware computes in it)")
	f.IntVar(&batch, "batch-size", 64, "images at a time")
	f.IntVar(&workers, "workers", 0, "image decoding in parallel (0 = all cores)")
	return c
}

// chosenClasses reads the classes from one of two flags.
func chosenClasses(list, file string) ([]eval.Class, error) {
	switch {
	case (list == "") == (file == ""):
		return nil, errors.New(`give the classes: either --classes "cat,dog", or --classes-file with one a line`)
	case file != "":
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("--classes-file: %w", err)
		}
		return suite.ReadClasses(file)
	}
	return suite.ReadClasses(list)
}
