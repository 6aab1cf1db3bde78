package clip

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"arf/internal/atomicfile"
	"arf/torch"

	"gopkg.in/yaml.v3"
)

// Card is what a model card (README.md on the Hugging Face hub) tells; what is
// empty isn't written.
type Card struct {
	Name       string       // the heading; "" takes the architecture's
	License    string       // by the hub's identifiers, such as apache-2.0; "" is "unknown"
	BaseModel  string       // hub id or path of what was finetuned or converted
	Data       []string     // what it was trained on, a line each
	Objectives []string     // terms of the loss
	Anchors    []string     // captions, retrieved pairs
	Prompts    []string     // of classes, in training and evaluation
	Training   []string     // settings
	Datasets   []string     // hub ids of the data sets
	Tags       []string     // besides "clip"
	Results    []CardResult // measured ones only
	Precision  torch.DType  // of the towers in Results; 0 = not told
	Command    string       // that made it
}

// CardResult is one measured number.
type CardResult struct {
	Dataset string
	Role    string  // such as "in distribution"; may be empty
	Metric  string  // such as "acc1"
	Value   float64 // 0 to 1
	Images  int
}

// WriteCard writes README.md into the folder dir, in which m is saved.
func (m *Model) WriteCard(dir string, c Card) error {
	f, err := find(dir)
	if err != nil {
		return err
	}
	dtype := m.Source.DType
	if err := atomicfile.Write(filepath.Join(dir, cardFile), c.format(m, f.layout, cmp.Or(dtype, torch.Float32)), 0o644); err != nil {
		return fmt.Errorf("model card: %w", err)
	}
	return nil
}

// frontMatter is the metadata of huggingface.co/docs/hub/model-cards.
type frontMatter struct {
	License     string      `yaml:"license"`
	Library     string      `yaml:"library_name"`
	PipelineTag string      `yaml:"pipeline_tag"`
	Tags        []string    `yaml:"tags"`
	BaseModel   string      `yaml:"base_model,omitempty"`
	Datasets    []string    `yaml:"datasets,omitempty"`
	ModelIndex  []cardModel `yaml:"model-index,omitempty"`
}

type cardModel struct {
	Name    string       `yaml:"name"`
	Results []cardMetric `yaml:"results"`
}

type cardMetric struct {
	Task    map[string]string `yaml:"task"`
	Dataset map[string]string `yaml:"dataset"`
	Metrics []map[string]any  `yaml:"metrics"`
}

// hubID is a name on the hub; paths of a machine are no use to others there.
var hubID = regexp.MustCompile(`^(hf-hub:)?([\w][\w.-]*/[\w][\w.-]*)(@[\w./-]+)?$`)

func (c Card) format(m *Model, layout Layout, dtype torch.DType) []byte {
	const task = "zero-shot-image-classification"
	name := oneLine(cmp.Or(c.Name, m.Config.Architecture()))
	front := frontMatter{
		License: cmp.Or(c.License, "unknown"), Library: "transformers", PipelineTag: task,
		Tags: append([]string{"clip"}, c.Tags...),
	}
	if layout == OpenCLIP {
		front.Library = "open_clip"
	}
	if m.Config.SigLIP {
		front.Tags[0] = "siglip"
	}
	if match := hubID.FindStringSubmatch(c.BaseModel); match != nil && !strings.Contains(match[2], "..") {
		if _, err := os.Stat(c.BaseModel); err != nil { // a folder may look like a hub id
			front.BaseModel = match[2]
		}
	}
	front.Datasets = c.Datasets
	if len(c.Results) > 0 {
		index := cardModel{Name: name}
		for _, r := range c.Results {
			index.Results = append(index.Results, cardMetric{
				Task:    map[string]string{"type": task},
				Dataset: map[string]string{"name": r.Dataset, "type": r.Dataset},
				Metrics: []map[string]any{{"type": r.Metric, "value": r.Value}},
			})
		}
		front.ModelIndex = []cardModel{index}
	}
	var b bytes.Buffer
	b.WriteString("---\n")
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(front); err != nil {
		panic(err) // texts, numbers and lists always encode
	}
	b.WriteString("---\n")
	fmt.Fprintf(&b, "# %s\n", name)
	if c.BaseModel != "" {
		fmt.Fprintf(&b, "\n**Base model**: %s\n", oneLine(c.BaseModel))
	}
	fmt.Fprintf(&b, "\n**Architecture**: %s, %.1f million parameters, %v weights\n", m.Config.Architecture(), float64(m.Config.Parameters())/1e6, dtype)
	for _, part := range []struct {
		title string
		lines []string
	}{{"Data", c.Data}, {"Objectives", c.Objectives}, {"Anchors", c.Anchors}, {"Prompts", c.Prompts}, {"Training", c.Training}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, "\n## %s\n", part.title)
			for _, line := range part.lines {
				fmt.Fprintf(&b, "- %s\n", oneLine(line))
			}
		}
	}
	if len(c.Results) > 0 {
		b.WriteString("\n## Results\n")
		if c.Precision != 0 {
			fmt.Fprintf(&b, "Towers computed in %v.\n\n", c.Precision)
		}
		b.WriteString("| data | role | metric | value | images |\n|---|---|---|---|---|\n")
		for _, r := range c.Results {
			fmt.Fprintf(&b, "| %s | %s | %s | %.4f | %d |\n", cell(r.Dataset), cell(r.Role), cell(r.Metric), r.Value, r.Images)
		}
	}
	b.WriteString("\n## Use\n" + usage(m, layout))
	if c.Command != "" {
		fmt.Fprintf(&b, "\n## Made by\n%s\n", fenced("", c.Command))
	}
	return b.Bytes()
}

func usage(m *Model, layout Layout) string {
	if layout == OpenCLIP {
		return fenced("python", `import open_clip  # 3 or later
model, preprocess = open_clip.create_model_from_pretrained("local-dir:PATH")
tokenizer = open_clip.get_tokenizer("local-dir:PATH")`)
	}
	if m.Config.SigLIP {
		return fenced("python", `from transformers import AutoTokenizer, SiglipImageProcessor, SiglipModel
model, processor = SiglipModel.from_pretrained("PATH"), SiglipImageProcessor.from_pretrained("PATH")
tokenizer = AutoTokenizer.from_pretrained("PATH")  # pad to the full length: padding="max_length", max_length=`+strconv.Itoa(m.Config.Text.ContextLength)+`
# SigLIP 2's tokenizer needs lower-cased texts, which transformers before 5 doesn't do`)
	}
	if m.Tokenizer != nil && !strings.Contains(fmt.Sprint(m.Tokenizer), "BPE") {
		return fenced("python", `from transformers import CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast
model = CLIPModel.from_pretrained("PATH")
processor, tokenizer = CLIPImageProcessor.from_pretrained("PATH"), PreTrainedTokenizerFast.from_pretrained("PATH")`)
	}
	return fenced("python", `from transformers import CLIPModel, CLIPProcessor
model, processor = CLIPModel.from_pretrained("PATH"), CLIPProcessor.from_pretrained("PATH")`)
}

// fenced is a block of code behind a fence that the code doesn't have.
func fenced(language, code string) string {
	fence := "```"
	for strings.Contains(code, fence) {
		fence += "`"
	}
	return fmt.Sprintf("%s%s\n%s\n%s\n", fence, language, strings.TrimSpace(code), fence)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func cell(s string) string { return strings.ReplaceAll(oneLine(s), "|", `\|`) }

// License is the license in the front matter of a folder's model card, "" if
// there is none.
func License(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, cardFile))
	if err != nil || len(data) > 1<<20 {
		return ""
	}
	parts := strings.SplitN(string(data), "---", 3)
	if len(parts) != 3 || strings.TrimSpace(parts[0]) != "" {
		return ""
	}
	var front struct {
		License any `yaml:"license"`
	}
	if yaml.Unmarshal([]byte(parts[1]), &front) != nil {
		return ""
	}
	license, _ := front.License.(string)
	return license
}
