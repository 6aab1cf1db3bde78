package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// The run folders of these tests are fixtures: files in the shape that arf
// writes, with numbers made here from a seeded generator. They show that the
// report reads and draws files rightly. They are no measurements.

type fixtureSuite struct {
	name, role    string
	images, class int
	// mean accuracy by method
	accuracy map[string]float64
}

var fixtureMethods = []string{"zeroshot", "ft", "flyp", "flyp+tca", "flyp+ita", "arf"}

var fixtureSuites = []fixtureSuite{
	{"id", "id", 1120, 101, accuracies(37.8, 47.6, 49.9, 48.9, 50.9, 49.7)},
	{"line", "shift", 980, 101, accuracies(50.7, 51.5, 54.1, 54.1, 55.5, 54.5)},
	{"duotone", "shift", 610, 101, accuracies(32.5, 33.8, 31.5, 32.6, 36.3, 33.0)},
	{"color", "shift", 540, 101, accuracies(30.0, 24.9, 22.3, 27.2, 30.9, 31.4)},
	{"emoji", "shift", 520, 101, accuracies(21.5, 25.9, 17.7, 20.0, 22.6, 21.5)},
	{"pixel-hand", "shift", 480, 101, accuracies(39.3, 34.0, 36.0, 36.2, 37.7, 36.4)},
	{"zero-shot", "zero-shot", 2740, 274, accuracies(16.4, 13.7, 12.1, 14.7, 15.9, 15.7)},
}

func accuracies(percent ...float64) map[string]float64 {
	out := map[string]float64{}
	for i, m := range fixtureMethods {
		out[m] = percent[i] / 100
	}
	return out
}

var fixtureClasses = strings.Split("microphone,briefcase,camera,star,cloud,key,phone,shield,bug,airplane,archive,flag,moon,mouse,eye,compass,pen,car,rocket,wallet,clipboard,store,bus,bell,sun,umbrella,castle,magnet,printer,bed,robot,hospital,calculator,laptop,train,shopping cart,stopwatch,watch,pencil,bomb,building,speaker,basket,bulb,clock,dice,globe,hammer,bank,cake,glasses,lock,dog,fish,timer,taxi,chair,egg,factory,floppy disk,ambulance,ice cream,backpack,thermometer,map,shopping bag,server,pin,ruler,truck,tree,flask,leaf,hourglass,envelope,eraser,plug,cursor,bolt,bone,cog,flower,planet,sofa,cat,road,skull,beer,binoculars,microscope,megaphone,broom,virus,carrot,suitcase,tablet,coffee", ",")

// fixture says what a run folder holds.
type fixture struct {
	methods []string
	seeds   int
	wise    bool
	drift   bool
	train   bool
	anchors bool
	info    bool
	images  int // finetune images in the anchors
	alphas  int // WiSE-FT steps from 0 to 1
	steps   int // of training
	classes func(i int) string
}

// fullFixture has every part and every method.
func fullFixture(seeds int) fixture {
	return fixture{methods: fixtureMethods, seeds: seeds, wise: true, drift: true, train: true, anchors: true, info: true, images: 202, alphas: 10, steps: 1100}
}

// smallFixture has every part and is quick to write.
func smallFixture(seeds int) fixture {
	f := fullFixture(seeds)
	f.methods, f.images, f.alphas, f.steps = []string{"zeroshot", "flyp", "arf"}, 12, 4, 40
	return f
}

// className names class i; beyond the list, numbered.
func (f fixture) className(i int) string {
	if f.classes != nil {
		return f.classes(i)
	}
	if i < len(fixtureClasses) {
		return fixtureClasses[i]
	}
	return fmt.Sprintf("noun %d", i)
}

// write makes the run folder and gives its path.
func (f fixture) write(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "icons")
	for _, method := range f.methods {
		seeds := f.seeds
		if method == Pretrained {
			seeds = 1
		}
		for seed := range seeds {
			folder := filepath.Join(dir, "eval", method, fmt.Sprintf("seed-%d", seed))
			for _, s := range fixtureSuites {
				writeJSON(t, filepath.Join(folder, s.name+".json"), f.evaluation(s, method, seed, 1))
				if !f.wise || method == Pretrained || method != "flyp" && method != "arf" {
					continue
				}
				for i := range f.alphas + 1 {
					alpha := float64(i) / float64(f.alphas)
					writeJSON(t, filepath.Join(folder, fmt.Sprintf("wise-%g", alpha), s.name+".json"), f.evaluation(s, method, seed, alpha))
				}
			}
			if method == Pretrained {
				continue
			}
			if f.drift {
				writeJSON(t, filepath.Join(folder, "drift.json"), fixtureDrift(method, seed))
			}
			if f.train {
				writeLines(t, filepath.Join(dir, "train", method, fmt.Sprintf("seed-%d", seed), "metrics.jsonl"), fixtureSteps(method, seed, f.steps))
			}
		}
	}
	if f.info {
		if err := WriteInfo(dir, fixtureInfo()); err != nil {
			t.Fatal(err)
		}
		writeText(t, filepath.Join(dir, "config.yaml"), "model: models/icon-clip\nseeds: [0, 1, 2]\ntrain:\n  lr: 3e-4\n  epochs: 10\n  batch: 128\nanchors:\n  k: 10\n  lambda_tca: 1\n  lambda_ita: 1\n")
	}
	if f.anchors {
		f.writeAnchors(t, filepath.Join(dir, "anchors"))
	}
	return dir
}

func random(parts ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, parts...)
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// evaluation draws each class around its own difficulty; the accuracy is what
// was drawn, so that the classes add up to it.
func (f fixture) evaluation(s fixtureSuite, method string, seed int, alpha float64) map[string]any {
	target, named := s.accuracy[method], method
	if method != Pretrained {
		target = s.accuracy[Pretrained] + alpha*(target-s.accuracy[Pretrained]) + 0.12*alpha*(1-alpha)*0.5
		if alpha == 0 {
			method, seed = Pretrained, 0
		}
	}
	perClass := map[string]any{}
	right, total := 0, 0
	for i := range s.class {
		n := s.images / s.class
		if i < s.images%s.class {
			n++
		}
		difficulty := random(s.name, i).NormFloat64() * 0.9
		own := 0.0
		if method != Pretrained {
			own = random(s.name, i, method).NormFloat64() * 0.25 * alpha
		}
		p := 1 / (1 + math.Exp(-(math.Log(target/(1-target))*1.12 + difficulty + own)))
		r := random(s.name, i, method, seed, "images")
		hits := 0
		for range n {
			if r.Float64() < p {
				hits++
			}
		}
		right, total = right+hits, total+n
		perClass[f.className(i)] = map[string]any{"n": n, "acc1": float64(hits) / float64(n)}
	}
	acc := float64(right) / float64(total)
	e := map[string]any{
		"dataset": s.name, "model": "icon-clip", "pretrained": "models/icon-clip", "task": "zeroshot_classification",
		"metrics":  map[string]any{"acc1": acc, "acc5": math.Min(0.99, acc*1.5), "mean_per_class_recall": acc * 0.99, "ece": 0.04 + 0.1*acc},
		"language": "en", "num_images": total, "num_classes": s.class, "class_mask": nil,
		"templates": []string{"a solid icon of a {}.", "an icon of a {}."}, "activation": "gelu",
		"standard_error": math.Sqrt(acc * (1 - acc) / float64(total)), "role": s.role, "per_class": perClass,
		"method": named, "seed": seed,
	}
	if alpha != 1 {
		e["alpha"] = alpha
	}
	return e
}

func fixtureDrift(method string, seed int) map[string]any {
	moved := map[string]float64{"ft": 0.72, "flyp": 0.7, "flyp+tca": 0.8, "flyp+ita": 0.88, "arf": 0.9}[method] + 0.004*float64(seed)
	before, after := map[string]any{}, map[string]any{}
	for i, k := range []int{1, 5, 10} {
		for j, direction := range []string{"image_to_text", "text_to_image"} {
			base := 0.21 + 0.17*float64(i) + 0.02*float64(j)
			name := fmt.Sprintf("recall_%s@%d", direction, k)
			before[name], after[name] = base, base*(0.6+0.4*moved)
		}
	}
	return map[string]any{"num_pairs": 2000, "image_cosine": moved, "text_cosine": moved + 0.02, "before": before, "after": after, "method": method, "seed": seed}
}

func fixtureSteps(method string, seed, steps int) []any {
	r := random(method, seed, "steps")
	var out []any
	for step := range steps {
		x := float64(step) / float64(steps)
		loss := 1.9*math.Exp(-3*x) + 0.45 + 0.12*r.NormFloat64()
		line := map[string]any{"step": step, "epoch": 10 * x, "loss": loss, "loss_class": loss,
			"lr": 3e-4 * math.Min(1, x*22) * 0.5 * (1 + math.Cos(math.Pi*x)), "logit_scale": 41 - 3*x + 0.02*float64(seed),
			"grad_norm": 2.2*math.Exp(-2*x) + 0.8 + 0.2*r.Float64(), "samples_per_second": 240 + 10*r.NormFloat64(), "peak_memory_bytes": 1 << 30, "time": 0.5 * float64(step)}
		if method == "flyp+tca" || method == "arf" {
			line["loss_tca"] = loss*1.2 + 0.1*r.NormFloat64()
			line["loss"] = line["loss"].(float64) + line["loss_tca"].(float64)
		}
		if method == "flyp+ita" || method == "arf" {
			line["loss_ita"] = 1.3 + 0.8*math.Exp(-2*x) + 0.1*r.NormFloat64()
			line["loss"] = line["loss"].(float64) + line["loss_ita"].(float64)
		}
		out = append(out, line)
	}
	return out
}

func fixtureInfo() Info {
	hash := func(s string) string {
		h := fnv.New128a()
		h.Write([]byte(s))
		return fmt.Sprintf("%x%x", h.Sum(nil), h.Sum(nil))
	}
	info := Info{Version: "0.1.0 (fixture)", Engine: "libtorch 1.13.1, OpenBLAS-openmp", Device: "cpu", Threads: 2, Precision: "bfloat16",
		Command: "arf demo --config configs/icons.yaml --set train.epochs=10",
		Started: time.Date(2026, 1, 5, 9, 12, 0, 0, time.UTC), Finished: time.Date(2026, 1, 5, 9, 36, 41, 0, time.UTC),
		Model: ModelInfo{Name: "icon-clip", SHA256: hash("model"), Parameters: 6150000}, Source: "@iconify/json 2.2.535",
		FinetuneSeconds: map[string]float64{"ft": 61, "flyp": 92, "flyp+tca": 118, "flyp+ita": 171, "arf": 196}}
	for _, d := range []DataInfo{{Role: "pretrain", Images: 98211}, {Role: "pool", Images: 61044}, {Role: "finetune", Images: 1411, Classes: 101}} {
		d.Path, d.SHA256 = "data/icons/"+d.Role, hash(d.Role)
		info.Data = append(info.Data, d)
	}
	for _, s := range fixtureSuites {
		name := s.name
		if s.role == "shift" {
			name = "shift/" + s.name
		}
		info.Data = append(info.Data, DataInfo{Role: name, Path: "data/icons/" + name, Images: s.images, Classes: s.class, SHA256: hash(name)})
	}
	return info
}

// fixturePair has the columns of pairs.parquet.
type fixturePair struct {
	QueryKey   string   `parquet:"query_key"`
	QueryClass string   `parquet:"query_class"`
	Rank       int32    `parquet:"rank"`
	PairKey    string   `parquet:"pair_key"`
	Text       string   `parquet:"text"`
	Texts      []string `parquet:"texts"`
	Score      float32  `parquet:"score"`
	CLIP       float32  `parquet:"clip_score"`
	Set        string   `parquet:"set"`
	License    string   `parquet:"license"`
	Row        int64    `parquet:"row"`
}

func (f fixture) writeAnchors(t testing.TB, dir string) {
	var lines []any
	var pairs []fixturePair
	for i := range f.images {
		class := f.className(i % 97)
		key := fmt.Sprintf("%s/fa--%d", class, i)
		r := random(key)
		lines = append(lines, map[string]any{"key": key, "image": "data/icons/finetune/" + key + ".png", "class": class, "captioner": "icon-captioner", "seed": 0,
			"captions": []any{
				map[string]any{"text": "a " + class + " with a handle", "log_prob": -7.3 + r.NormFloat64(), "clip_score": 0.31 + 0.03*r.NormFloat64()},
				map[string]any{"text": class + " outline", "log_prob": -9.1 + r.NormFloat64(), "clip_score": 0.28 + 0.03*r.NormFloat64()},
				map[string]any{"text": "black " + class + ", simple", "log_prob": -12.4 + r.NormFloat64(), "clip_score": nil}}})
		for rank := range 10 {
			n := r.IntN(4000)
			text := class
			if rank > 3 {
				text = f.className(r.IntN(90)) + " " + class
			}
			pairs = append(pairs, fixturePair{key, class, int32(rank + 1), fmt.Sprintf("mdi--%d", n), text, []string{text}, float32(0.93 - 0.02*float64(rank)), 0.3, "mdi", "Apache-2.0", int64(n)})
		}
	}
	writeLines(t, filepath.Join(dir, "captions.jsonl"), lines)
	if err := parquet.WriteFile(filepath.Join(dir, "pairs.parquet"), pairs); err != nil {
		t.Fatal(err)
	}
}

// drawnImages draws a picture for any key, so that tests need no data.
type drawnImages struct{}

func (drawnImages) FinetuneImage(key string) ([]byte, error) { return drawn(key, color.Black) }

func (drawnImages) PoolImage(key string) ([]byte, error) {
	r := random(key)
	return drawn(key, color.RGBA{uint8(r.IntN(160)), uint8(r.IntN(160)), uint8(r.IntN(160)), 255})
}

// drawings keeps what was drawn: most of the tests show the same pictures.
var drawings sync.Map

func drawn(key string, ink color.Color) ([]byte, error) {
	if old, ok := drawings.Load(key); ok {
		return old.([]byte), nil
	}
	r := random(key)
	m := image.NewRGBA(image.Rect(0, 0, 64, 64))
	n, inner, turn := float64(3+r.IntN(6)), 0.35+0.5*r.Float64(), r.Float64()*6
	for y := range 64 {
		for x := range 64 {
			dx, dy := float64(x)-31.5, float64(y)-31.5
			edge := 26 * (inner + (1-inner)*(0.5+0.5*math.Cos(n*math.Atan2(dy, dx)+turn)))
			if d := math.Hypot(dx, dy); d < edge && d > edge*0.3 {
				m.Set(x, y, ink)
			} else {
				m.Set(x, y, color.White)
			}
		}
	}
	var b bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, m)
	drawings.Store(key, b.Bytes())
	return b.Bytes(), err
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, path, string(data))
}

func writeLines(t testing.TB, path string, lines []any) {
	t.Helper()
	var b strings.Builder
	for _, line := range lines {
		data, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(data, '\n'))
	}
	writeText(t, path, b.String())
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, dir string) *Run {
	t.Helper()
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
