package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// minimal is the shortest valid config.
const minimal = `
name: run
model: models/clip
methods: [zeroshot, flyp]
data:
  finetune: {path: data/train}
`

var ignoreOrigin = cmpopts.IgnoreUnexported(Config{})

func TestDefaultsHoldForMissingKeys(t *testing.T) {
	c, err := Parse("min.yaml", []byte(minimal+`
train:
  lr: 3e-4
  freeze_batch_norm: false
  augment: {flip: 0.5}
eval:
  suites:
  - {name: id, role: id, source: {path: data/id, separator: ";"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name, want.Model = "run", "models/clip"
	want.Methods = []Method{MethodZeroShot, MethodFLYP}
	want.Data.Finetune.Path = "data/train"
	want.Train.LR = 3e-4
	want.Train.FreezeBatchNorm = false
	want.Train.Augment.Flip = 0.5
	want.Eval.Suites = []Suite{{Name: "id", Role: RoleID, Source: Source{Path: "data/id", Separator: ";"}}}
	if diff := cmp.Diff(want, *c, ignoreOrigin); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
}

func TestFileMistakes(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       string // the whole message
	}{
		{"unknown key", "train:\n  batchsize: 3\n", "c.yaml:2: train.batchsize: unknown key; did you mean train.batch_size?"},
		{"key of another section", "lr: 1e-3\n", "c.yaml:1: lr: unknown key; did you mean train.lr?"},
		{"unlike any key", "report:\n  colour: red\n", "c.yaml:2: report.colour: unknown key; known here: gallery"},
		{"unknown key in a list", "eval:\n  suites:\n  - nme: x\n", "c.yaml:3: eval.suites[0].nme: unknown key; did you mean eval.suites[0].name?"},
		{"text for number", "train:\n  lr: fast\n", `c.yaml:2: train.lr: want a number, got "fast"`},
		{"fraction for whole number", "train:\n  epochs: 1.5\n", `c.yaml:2: train.epochs: want a whole number, got "1.5"`},
		{"infinite number", "train:\n  lr: .inf\n", `c.yaml:2: train.lr: want a number, got ".inf"`},
		{"yes for true", "train:\n  freeze_batch_norm: yes\n", `c.yaml:2: train.freeze_batch_norm: want true or false, got "yes"`},
		{"scalar for list", "seeds: 3\n", `c.yaml:1: seeds: want a list such as [a, b], got "3"`},
		{"list for scalar", "name: [a]\n", "c.yaml:1: name: want a text, got a list"},
		{"scalar for section", "report: 3\n", `c.yaml:1: report: want keys (gallery), got "3"`},
		{"wrong element", "seeds: [1, x]\n", `c.yaml:1: seeds[1]: want a whole number, got "x"`},
		{"misspelt choice", "methods: [flyp+tcaa]\n", `c.yaml:1: methods[0]: want one of zeroshot, ft, flyp, flyp+tca, flyp+ita, arf, flyp+class-text, arf+class-text, flyp+random, flyp+random-matched, arf+random, pairs-only, flyp-2x, caption=class-prompt, got "flyp+tcaa"; did you mean flyp+tca?`},
		{"foreign choice", "precision: float64\n", `c.yaml:1: precision: want one of auto, bf16, fp32, got "float64"`},
		{"all mistakes at once", "nam: x\nthreads: a\n", "c.yaml:1: nam: unknown key; did you mean name?\nc.yaml:2: threads: want a whole number, got \"a\""},
		{"duplicate key", "name: a\nname: b\n", `c.yaml:2: not valid YAML: mapping key "name" already defined at [1:1]`},
		{"broken YAML", "name: a\nseeds: [1\n", "c.yaml:2: not valid YAML: sequence end token ']' not found"},
		{"two documents", "name: a\n---\nname: b\n", "c.yaml: more than one YAML document; a config is one"},
		{"undefined alias", "name: *other\n", "c.yaml:1: name: *other is not defined above; write &other before the value it stands for"},
		{"merge key", "report:\n  <<: {gallery: 1}\n", "c.yaml:2: report.<<: YAML merge keys are not read; repeat the keys, or name a whole value with &name and *name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(tt.yaml))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got: %v\nwant: %s", err, tt.want)
			}
		})
	}
}

func TestAnchorsAndAliases(t *testing.T) {
	c, err := Parse("c.yaml", []byte(minimal+`
eval:
  templates: &prompts ["a drawing of a {}."]
  suites:
  - {name: id, role: id, source: {path: a}, templates: *prompts}
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Eval.Templates, c.Eval.Suites[0].Templates); diff != "" {
		t.Error(diff)
	}
	_, err = Parse("c.yaml", []byte("eval: &e {drift: *e}\n"))
	if err == nil || !strings.Contains(err.Error(), "eval.drift.drift: unknown key") {
		t.Errorf("an alias inside its own anchor gave %v", err)
	}
}

func TestSet(t *testing.T) {
	base := minimal + "eval:\n  suites:\n  - {name: id, role: id, source: {path: a}}\n"
	tests := []struct {
		set  string
		get  func(*Config) any
		want any
	}{
		{"train.lr=1e-5", func(c *Config) any { return c.Train.LR }, 1e-5},
		{"seeds=[1, 2]", func(c *Config) any { return c.Seeds }, []int{1, 2}},
		{"name=a", func(c *Config) any { return c.Name }, "a"},
		{"methods=[ft]", func(c *Config) any { return c.Methods }, []Method{MethodFT}},
		{"train.freeze_batch_norm=false", func(c *Config) any { return c.Train.FreezeBatchNorm }, false},
		{"output=what: {is} this #1=?", func(c *Config) any { return c.Output }, "what: {is} this #1=?"},
		{"anchors.pairs.query=mix", func(c *Config) any { return c.Anchors.Pairs.Mix }, DefaultMix},
		{"anchors.pairs.query=mix; anchors.pairs.mix.class_text=0.5", func(c *Config) any { return c.Anchors.Pairs.Mix }, Mix{ClassText: 0.5}},
		{"anchors.pairs.query=mix; anchors.pairs.mix.image=1; anchors.pairs.mix.caption_text=2", func(c *Config) any { return c.Anchors.Pairs.Mix }, Mix{Image: 1, CaptionText: 2}},
		{"data.classes=classes.txt", func(c *Config) any { return c.Data.Classes }, List{Ref: "classes.txt"}},
		{"data.classes=[cat, dog]", func(c *Config) any { return c.Data.Classes }, List{Items: []string{"cat", "dog"}}},
		{"eval.suites[0].source.limit=7", func(c *Config) any { return c.Eval.Suites[0].Source.Limit }, 7},
		{"eval.suites=[]", func(c *Config) any { return len(c.Eval.Suites) }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			c, err := Parse("c.yaml", []byte(base), strings.Split(tt.set, "; ")...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.get(c)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetMistakes(t *testing.T) {
	tests := []struct{ set, want string }{
		{"train.lr", `want key=value, such as train.lr=1e-5`},
		{"train.lrs=1", `train.lrs: unknown key; did you mean train.lr?`},
		{"train.lr=x", `train.lr: want a number, got "x"`},
		{"lr=1", `lr: unknown key; did you mean train.lr?`},
		{"train=1", `train: is a section; set its keys: batch_size, `},
		{"train.lr.x=1", `train.lr: has no keys of its own`},
		{"data.classes.ref=1", `data.classes: has no keys of its own`},
		{"seeds=3", `seeds: want a list such as [a, b], got "3"`},
		{"seeds=[1", `seeds: want a list such as [a, b]`},
		{"seeds=[x]", `seeds[0]: want a whole number, got "x"`},
		{"seeds[3]=1", `seeds: has 1 elements, no [3]`},
		{"name[0]=1", `name: has 0 elements, no [0]`},
		{"=1", `unknown key; known here: name, output`},
		{"train.lr=-1", `train.lr: is -1; give a learning rate above 0`},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(minimal), tt.set)
			if err == nil {
				t.Fatal("no error")
			}
			if want := "--set \"" + tt.set + "\": "; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error\n got: %v\nwant: %s%s", err, want, tt.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name, set string
		want      string
	}{
		{"no finetune set", "data.finetune.path=", `data.finetune.path: is missing`},
		{"folder as name", "name=a/b", `name: "a/b" can't name a run folder`},
		{"no method", "methods=[]", `methods: is empty`},
		{"seed twice", "seeds=[1, 1]", `seeds[1]: 1 is there twice`},
		{"arf without pool", "methods=[arf]", `data.pool.path: is missing; give the image-text pairs to retrieve from`},
		{"arf without captioner", "methods=[arf]", `anchors.captions.captioner: is missing`},
		{"caption query without captioner", "anchors.pairs.query=caption-text", ``},
		{"a mix's weights", "anchors.pairs.query=mix; anchors.pairs.mix.image=1; anchors.pairs.mix.image_text=0.5", ``},
		{"a mix without weights", "anchors.pairs.query=mix", ``},
		{"negative weight", "anchors.pairs.query=mix; anchors.pairs.mix.image=-1", `anchors.pairs.mix.image: is -1; give 0 to 1e+06`},
		{"no number for a weight", "anchors.pairs.query=mix; anchors.pairs.mix.image=NaN", `anchors.pairs.mix.image: want a number, got "NaN"`},
		{"unknown weight", "anchors.pairs.query=mix; anchors.pairs.mix.image-txt=1", `anchors.pairs.mix.image-txt: unknown key; did you mean anchors.pairs.mix.image_text?`},
		{"weights of 0", "anchors.pairs.query=mix; anchors.pairs.mix.image=0", `anchors.pairs.mix: has no weight above 0; give one, such as class_text: 1`},
		{"weights without a mix", "anchors.pairs.query=class-text; anchors.pairs.mix.image=1", `anchors.pairs.mix: has weights, but anchors.pairs.query is class-text; set query to mix, or leave mix out`},
		{"a mix of captions without captioner", "methods=[flyp+ita]; anchors.pairs.query=mix; anchors.pairs.mix.caption_text=1", `anchors.captions.captioner: is missing`},
		{"device", "device=gpu", `device: "gpu" is no device; use auto, cpu, cuda or cuda:1`},
		{"greedy copies", "anchors.captions.temperature=0", `temperature 0 gives the same caption each time`},
		{"beams that draw", "anchors.captions.beams=3", `anchors.captions.beams: is 3, but beam search draws nothing`},
		{"too many beams", "anchors.captions.beams=65; anchors.captions.temperature=0; anchors.captions.per_image=1", `anchors.captions.beams: is 65; give 1 (no search) to 64`},
		{"more captions than beams", "anchors.captions.beams=3; anchors.captions.temperature=0", `anchors.captions.per_image: is 5 of 3 beams`},
		{"beams", "anchors.captions.beams=5; anchors.captions.temperature=0", ``},
		{"endpoint without model", "anchors.captions.endpoint.url=http://localhost/v1", `anchors.captions.endpoint.model: is missing`},
		{"endpoint without scheme", "anchors.captions.endpoint.url=localhost:8000; anchors.captions.endpoint.model=m", `anchors.captions.endpoint.url: "localhost:8000" is no address`},
		{"endpoint and captioner", "anchors.captions.captioner=a; anchors.captions.endpoint.url=http://localhost/v1; anchors.captions.endpoint.model=m", `anchors.captions.captioner: is given beside an endpoint`},
		{"endpoint with beams", "anchors.captions.beams=5; anchors.captions.temperature=0; anchors.captions.endpoint.url=http://localhost/v1; anchors.captions.endpoint.model=m", `an endpoint has no beam search`},
		{"cap without prices", "anchors.captions.endpoint.max_cost=5", `anchors.captions.endpoint.max_cost: is 5, but without price_input`},
		{"endpoint that waits for nothing", "anchors.captions.endpoint.timeout=0", `anchors.captions.endpoint.timeout: is 0`},
		{"endpoint", "anchors.captions.endpoint.url=https://host/v1; anchors.captions.endpoint.model=m; anchors.captions.endpoint.max_cost=5; anchors.captions.endpoint.price_input=1", ``},
		{"batch of one", "train.batch_size=1", `train.batch_size: is 1; give 2 or more`},
		{"template without class", "train.templates=[a photo]", `train.templates[0]: "a photo" needs {} once`},
		{"no template", "train.templates=[]", `train.templates: is empty`},
		{"crop larger than image", "train.augment.scale_max=1.5", `give 0 < scale_min ≤ scale_max ≤ 1`},
		{"alpha", "eval.wise_alphas=[0, 2]", `eval.wise_alphas[1]: is 2; give 0 to 1`},
		{"suite without anything", "eval.suites=[{}]", `eval.suites[0].role: is missing; give id, shift, zero-shot`},
		{"published suite", "eval.suites=[{suite: vtab, source: {path: x, limit: 3}, templates: [\"a {}\"]}]", ``},
		{"published suite with a name", "eval.suites=[{suite: vtab, name: a, source: {path: x}}]", `eval.suites[0].name: is given beside suite`},
		{"published suite with classes", "eval.suites=[{suite: vtab, classes: folder, source: {path: x}}]", `eval.suites[0].classes: is given beside suite`},
		{"published suite with columns", "eval.suites=[{suite: vtab, source: {path: x, text_column: y}}]", `eval.suites[0].source: has more than path and limit`},
		{"suites of one name", "eval.suites=[{name: a, role: id, source: {path: x}}, {name: a, role: id, source: {path: y}}]", `eval.suites[1].name: "a" is taken by an earlier suite`},
		{"long separator", "data.finetune.separator=::", `data.finetune.separator: "::" is more than one character`},
		{"source type", "data.finetune.type=parket", `did you mean parquet?`},
		{"half", "data.finetune.half=first", `data.finetune.half: want one of base, new, got "first"`},
		{"weights of one source", "data.finetune.weights=[1]", `data.finetune.weights: is for several sources, joined by :: in path`},
		{"no weight", "anchors.pairs.leak_guard.sources=[{path: a::b, weights: [1, 0]}]", `anchors.pairs.leak_guard.sources[0].weights[1]: is 0; give more than 0`},
		{"too few weights", "anchors.pairs.leak_guard.sources=[{path: a::b, weights: [1]}]", `anchors.pairs.leak_guard.sources[0].weights: has 1 numbers for the 2 sources of path`},
		{"weights", "anchors.pairs.leak_guard.sources=[{path: a::b, weights: [1, 0.5]}]", ``},
		{"weights and limit", "anchors.pairs.leak_guard.sources=[{path: a::b, weights: [1, 1], limit: 5}]", `anchors.pairs.leak_guard.sources[0].weights: can't go with limit or shots`},
		{"milvus without a server", "anchors.pairs.index=milvus", `anchors.pairs.milvus.address: is missing; give the Milvus server's host and port`},
		{"milvus", "anchors.pairs.index=milvus; anchors.pairs.milvus.address=localhost:19530; anchors.pairs.milvus.index_type=IVF_FLAT", ``},
		{"collection", "anchors.pairs.milvus.collection=a-b", `anchors.pairs.milvus.collection: "a-b" can't name a collection`},
		{"shots", "data.finetune.shots=-1", `data.finetune.shots: is -1; give 0 or more`},
		{"split of a folder", "anchors.pairs.leak_guard.sources=[{path: a, type: csv, split: test}]", `anchors.pairs.leak_guard.sources[0].split: is "test", but type csv has no splits`},
		{"split", "eval.suites=[{name: a, role: id, source: {path: x.json, type: coop, split: test, half: new}}]", ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(minimal), strings.Split(tt.set, "; ")...)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error\n got: %v\nwant: %s", err, tt.want)
			}
			for e := range eachError(err) {
				if e.Where == "" || e.Key == "" {
					t.Errorf("%#v doesn't say where", e)
				}
			}
		})
	}

	_, err := Parse("c.yaml", []byte(minimal+"train:\n  lr: 0\n"))
	if want := "c.yaml:8: train.lr: is 0; give a learning rate above 0, such as 1e-5"; err == nil || err.Error() != want {
		t.Errorf("error\n got: %v\nwant: %s", err, want)
	}
}

func eachError(err error) func(func(*Error) bool) {
	return func(yield func(*Error) bool) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				eachError(e)(yield)
			}
		} else if e, ok := errors.AsType[*Error](err); ok {
			yield(e)
		}
	}
}

func TestResolvedConfigReadsBack(t *testing.T) {
	for _, path := range []string{"../configs/own-data.yaml", "../configs/icons.yaml"} {
		c, err := Load(path, "train.lr=1.25e-7", "eval.templates=[\"a: {}\", \"#{}\"]", "data.classes=some.txt")
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("resolved.yaml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(c, again, ignoreOrigin, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: resolved config differs:\n%s", path, diff)
		}
	}
}

// Every key of the structs stands in own-data.yaml, with a comment, and with its default unless marked (yours).
func TestOwnDataExplainsEveryKey(t *testing.T) {
	const path = "../configs/own-data.yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseYAML(data)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	at := map[string]int{} // the key's first line, from 0
	var walk func(ast.Node, string)
	walk = func(n ast.Node, key string) {
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, e := range n.Values {
				k := join(key, e.Key.String())
				if _, ok := at[k]; !ok {
					at[k] = e.Key.GetToken().Position.Line - 1
				}
				walk(e.Value, k)
			}
		case *ast.SequenceNode:
			for _, e := range n.Values {
				walk(e, key+"[]")
			}
		}
	}
	walk(root, "")

	for _, key := range Keys() {
		line, ok := at[key]
		if !ok {
			// All sources have the same keys; the first one explains them.
			if i := strings.LastIndex(key, "."); sourceKey(key[i+1:]) && key != "data.finetune."+key[i+1:] {
				continue
			}
			t.Errorf("%s doesn't have %s", path, key)
			continue
		}
		above := line > 0 && strings.HasPrefix(strings.TrimSpace(lines[line-1]), "#")
		if !above && !strings.Contains(lines[line], "# ") {
			t.Errorf("%s:%d: %s has no comment", path, line+1, key)
		}
	}

	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	def := Default()
	def.Name, def.Model = c.Name, c.Model
	def.Data.Finetune.Path, def.Data.Validation.Path, def.Data.Pool.Path = c.Data.Finetune.Path, c.Data.Validation.Path, c.Data.Pool.Path
	def.Anchors.Captions.Captioner = c.Anchors.Captions.Captioner
	def.Eval.Suites = c.Eval.Suites
	if diff := cmp.Diff(def, *c, ignoreOrigin, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s shows other values than the defaults (-default +file):\n%s", path, diff)
	}
}

func sourceKey(name string) bool {
	return slices.Contains([]string{"path", "type", "weights", "split", "half", "shots", "shots_seed", "image_column", "text_column", "class_column", "label_column", "separator", "root", "allow_missing_classes", "limit"}, name)
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"model", "train", "pool", "captioner"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	base := strings.ReplaceAll(`
name: run
model: DIR/model
data:
  finetune: {path: DIR/train}
  pool: {path: "DIR/pool/{00000..00009}.tar"}
anchors:
  captions: {captioner: DIR/captioner}
`, "DIR", dir)
	tests := []struct {
		name, set, want string
	}{
		{"all there", "threads=1", ""},
		{"misspelt model", "model=" + dir + "/modle", "model: " + dir + "/modle does not exist"},
		{"misspelt relative model", "model=./modle", "model: ./modle does not exist"},
		{"model of the hub", "model=org/name@v1.0", ""},
		{"model of the hub for sure", "model=hf-hub:org/name", ""},
		{"misspelt captioner", "anchors.captions.captioner=" + dir + "/captoner", "anchors.captions.captioner: " + dir + "/captoner does not exist"},
		{"captioner of the hub", "anchors.captions.captioner=Salesforce/blip-image-captioning-base", ""},
		{"endpoint", "anchors.captions.captioner=; anchors.captions.endpoint.url=http://localhost:1/v1; anchors.captions.endpoint.model=m", ""},
		{"pattern in a missing folder", "data.pool.path=" + dir + "/pol/*.tar", "data.pool.path: " + dir + "/pol does not exist"},
		{"misspelt part", "data.pool.path=" + dir + "/pool/*.tar::" + dir + "/pol/*.tar", "data.pool.path: " + dir + "/pol does not exist"},
		{"unused pool", "data.pool.path=nowhere", "data.pool.path: nowhere does not exist"},
		{"class keyword", "eval.suites=[{name: a, role: id, source: {path: " + dir + "/train}, classes: finetune, class_mask: present}]", ""},
		{"class file", "eval.suites=[{name: a, role: id, source: {path: " + dir + "/train}, classes: finetun}]", "eval.suites[0].classes: finetun does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("c.yaml", []byte(base), strings.Split(tt.set, "; ")...)
			if err != nil {
				t.Fatal(err)
			}
			err = c.CheckFiles()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error\n got: %v\nwant: %s", err, tt.want)
			}
		})
	}
	c, err := Parse("c.yaml", []byte(base), "methods=[flyp]", "data.pool.path=nowhere")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckFiles(); err != nil {
		t.Errorf("a pool that no method uses is asked for: %v", err)
	}
}

func TestListRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "classes.txt")
	if err := os.WriteFile(file, []byte("# birds\r\nblue tit\r\n\n  robin \nlast"), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := List{Ref: file}.Read()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"blue tit", "robin", "last"}, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(file, []byte("# nothing\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{file, file + ".missing"} {
		if _, err := (List{Ref: ref}).Read(); err == nil || !strings.Contains(err.Error(), ref) {
			t.Errorf("Read(%s) gave error %v, want one that names the file", ref, err)
		}
	}
}

func TestHash(t *testing.T) {
	a, b := Default(), Default()
	if Hash(a) != Hash(b) {
		t.Error("equal configs hash differently")
	}
	b.Train.LambdaITA = 2
	if Hash(a) == Hash(b) {
		t.Error("a changed weight doesn't change the hash")
	}
	if Hash(a.Anchors) != Hash(b.Anchors) {
		t.Error("a changed weight of training changes the hash of the anchors")
	}
	// Anything that wrote this hash once must find it again.
	if got, want := Hash(struct{ A []float64 }{[]float64{0.1}}), "aefa5adc883aeb35"; got != want {
		t.Errorf("Hash = %s, want %s", got, want)
	}
}

func TestDecodeOtherStructs(t *testing.T) {
	type other struct {
		Seed  uint64
		Model struct {
			Width  int32   `yaml:"width"`
			Factor float32 `yaml:"factor,omitempty"`
		} `yaml:"model"`
		Skipped string `yaml:"-"`
		Layers  []int  `yaml:"layers"`
	}
	want := other{Seed: 1 << 63, Layers: []int{1, 2}}
	want.Model.Width, want.Model.Factor = 7, 0.5
	got := other{Seed: 3}
	got.Model.Width = 7
	if err := Decode("o.yaml", []byte("seed: 9223372036854775808\nlayers: [1, 2]"), &got, "model.factor=0.5"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"seed: -1":                   `o.yaml:1: seed: want a whole number, 0 or more, got "-1"`,
		"model: {width: 3000000000}": `o.yaml:1: model.width: want a whole number, got "3000000000"`,
		"width: 1":                   "o.yaml:1: width: unknown key; did you mean model.width?",
		"skipped: x":                 "o.yaml:1: skipped: unknown key; known here: seed, model, layers",
	} {
		if err := Decode("o.yaml", []byte(text), &got); err == nil || err.Error() != want {
			t.Errorf("%s\n got: %v\nwant: %s", text, err, want)
		}
	}
}

// Whatever the bytes, Parse returns, and what it accepts reads back from its own YAML.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"../configs/own-data.yaml", "../configs/icons.yaml"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "train.lr=1")
	}
	f.Add([]byte(minimal), "eval.suites=[{name: *a}]")
	f.Add([]byte("a: &a [*a]"), "seeds[0]=1")
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		c, err := Parse("fuzz.yaml", data, set)
		if err != nil {
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(c, again, ignoreOrigin, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("reads back differently:\n%s\n%s", diff, text)
		}
	})
}
