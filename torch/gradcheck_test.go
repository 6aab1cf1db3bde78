package torch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// gradientCases has every differentiable operator that the package gives a
// method or function; TestEveryOperatorIsChecked keeps the list whole. shapes
// are of the float64 inputs.
var gradientCases = []struct {
	name   string
	shapes [][]int
	f      func(x []*Tensor) *Tensor
}{
	{"Add", [][]int{{2, 3}, {3}}, func(x []*Tensor) *Tensor { return x[0].Add(x[1]) }},
	{"Sub", [][]int{{2, 3}, {2, 1}}, func(x []*Tensor) *Tensor { return x[0].Sub(x[1]) }},
	{"Mul", [][]int{{2, 3}, {3}}, func(x []*Tensor) *Tensor { return x[0].Mul(x[1]) }},
	{"Div", [][]int{{2, 3}, {3}}, func(x []*Tensor) *Tensor { return x[0].Div(x[1]) }},
	{"Scale", [][]int{{4}}, func(x []*Tensor) *Tensor { return x[0].Scale(-3) }},
	{"AddScalar", [][]int{{4}}, func(x []*Tensor) *Tensor { return x[0].AddScalar(2) }},
	{"RSqrt", [][]int{{4}}, func(x []*Tensor) *Tensor { return x[0].Exp().RSqrt() }},
	{"Exp", [][]int{{4}}, func(x []*Tensor) *Tensor { return x[0].Exp() }},
	{"Tidy", [][]int{{4}}, func(x []*Tensor) *Tensor { return Tidy(func() *Tensor { return x[0].Exp().Tanh() }) }},
	{"Tanh", [][]int{{4}}, func(x []*Tensor) *Tensor { return x[0].Tanh() }},
	{"ReLU", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].ReLU() }},
	{"ReLU_", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].Scale(2).ReLU_() }},
	{"GELU", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].GELU() }},
	{"GELUTanh", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].GELUTanh() }},
	{"LogSigmoid", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].LogSigmoid() }},
	{"QuickGELU", [][]int{{6}}, func(x []*Tensor) *Tensor { return x[0].QuickGELU() }},
	{"MaskedFill", [][]int{{2, 2}}, func(x []*Tensor) *Tensor {
		return x[0].MaskedFill(From(CPU, []int64{1, 0, 0, 1}, 2, 2).EqScalar(1), -5)
	}},
	{"Sum", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Sum() }},
	{"SumDim", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].SumDim(1, true) }},
	{"Mean", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Mean() }},
	{"MeanDim", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].MeanDim(0, false) }},
	{"Norm", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Norm(1, true) }},
	{"Normalize", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Normalize() }},
	{"AMax", [][]int{{2, 5}}, func(x []*Tensor) *Tensor { return x[0].AMax(1) }},
	{"TopK", [][]int{{2, 5}}, func(x []*Tensor) *Tensor { v, _ := x[0].TopK(2); return v }},
	{"Softmax", [][]int{{2, 4}}, func(x []*Tensor) *Tensor { return x[0].Softmax(-1) }},
	{"LogSoftmax", [][]int{{2, 4}}, func(x []*Tensor) *Tensor { return x[0].LogSoftmax(-1) }},

	{"Cast", [][]int{{3}}, func(x []*Tensor) *Tensor { return x[0].Cast(Float64) }},
	{"ToDevice", [][]int{{3}}, func(x []*Tensor) *Tensor { return x[0].ToDevice(CPU) }},
	{"Reshape", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Reshape(3, -1) }},
	{"Permute", [][]int{{2, 3, 2}}, func(x []*Tensor) *Tensor { return x[0].Permute(2, 0, 1) }},
	{"Transpose", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Transpose(0, 1) }},
	{"Contiguous", [][]int{{2, 3}}, func(x []*Tensor) *Tensor { return x[0].Transpose(0, 1).Contiguous() }},
	{"ChannelsLast", [][]int{{1, 2, 2, 3}}, func(x []*Tensor) *Tensor { return x[0].ChannelsLast() }},
	{"Expand", [][]int{{1, 3}}, func(x []*Tensor) *Tensor { return x[0].Expand(2, -1) }},
	{"Unsqueeze", [][]int{{3}}, func(x []*Tensor) *Tensor { return x[0].Unsqueeze(0) }},
	{"Flatten", [][]int{{2, 3, 2}}, func(x []*Tensor) *Tensor { return x[0].Flatten(1, 2) }},
	{"Narrow", [][]int{{4, 2}}, func(x []*Tensor) *Tensor { return x[0].Narrow(0, 1, 2) }},
	{"Select", [][]int{{4, 2}}, func(x []*Tensor) *Tensor { return x[0].Select(0, 2) }},
	{"IndexSelect", [][]int{{4, 2}}, func(x []*Tensor) *Tensor {
		return x[0].IndexSelect(0, From(CPU, []int64{3, 0, 3}, 3))
	}},
	{"Index2", [][]int{{3, 4, 2}}, func(x []*Tensor) *Tensor {
		return x[0].Index2(From(CPU, []int64{0, 2, 2}, 3), From(CPU, []int64{3, 1, 1}, 3))
	}},
	{"Gather", [][]int{{2, 3}}, func(x []*Tensor) *Tensor {
		return x[0].Gather(1, From(CPU, []int64{2, 2, 0, 1}, 2, 2))
	}},
	{"Cat", [][]int{{2, 2}, {2, 1}}, func(x []*Tensor) *Tensor { return Cat(1, x...) }},
	{"Stack", [][]int{{2}, {2}}, func(x []*Tensor) *Tensor { return Stack(0, x...) }},
	{"Triu", [][]int{{3, 3}}, func(x []*Tensor) *Tensor { return x[0].Triu(1) }},

	{"MatMul", [][]int{{2, 2, 3}, {3, 2}}, func(x []*Tensor) *Tensor { return x[0].MatMul(x[1]) }},
	{"Linear", [][]int{{2, 3}, {4, 3}, {4}}, func(x []*Tensor) *Tensor { return Linear(x[0], x[1], x[2]) }},
	{"Embedding", [][]int{{4, 3}}, func(x []*Tensor) *Tensor {
		return Embedding(x[0], From(CPU, []int64{1, 1, 3}, 3))
	}},
	{"LayerNorm", [][]int{{2, 4}, {4}, {4}}, func(x []*Tensor) *Tensor { return LayerNorm(x[0], x[1], x[2], 1e-5) }},
	{"BatchNorm", [][]int{{3, 2, 2, 2}, {2}, {2}}, func(x []*Tensor) *Tensor {
		statistics := func() (mean, variance *Tensor) { // training overwrites them
			return From(CPU, []float64{0.1, -0.2}, 2), From(CPU, []float64{0.5, 2}, 2)
		}
		mean, variance := statistics()
		frozen := BatchNorm(x[0], x[1], x[2], mean, variance, false, 0.1, 1e-5)
		mean, variance = statistics()
		return frozen.Add(BatchNorm(x[0], x[1], x[2], mean, variance, true, 0.1, 1e-5))
	}},
	{"Conv2D", [][]int{{1, 2, 5, 5}, {3, 2, 3, 3}, {3}}, func(x []*Tensor) *Tensor {
		return Conv2D(x[0], x[1], x[2], 2, 1)
	}},
	{"AvgPool2D", [][]int{{1, 2, 4, 4}}, func(x []*Tensor) *Tensor { return AvgPool2D(x[0], 2) }},
	{"ResizeBicubic", [][]int{{1, 2, 4, 3}}, func(x []*Tensor) *Tensor { return ResizeBicubic(x[0], 3, 5) }},
	{"Attention", [][]int{{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {3, 3}}, func(x []*Tensor) *Tensor {
		return Attention(x[0], x[1], x[2], x[3])
	}},
	{"CrossEntropy", [][]int{{3, 4}}, func(x []*Tensor) *Tensor {
		return CrossEntropy(x[0], From(CPU, []int64{2, 0, -100}, 3))
	}},
	{"SoftCrossEntropy", [][]int{{2, 3}}, func(x []*Tensor) *Tensor {
		return SoftCrossEntropy(x[0], From(CPU, []float64{0.5, 0.5, 0, 0, 0.1, 0.9}, 2, 3))
	}},
}

// withoutGradient are exported makers of tensors that nothing is differentiated through.
var withoutGradient = strings.Fields(`Zeros Full Arange Randn Eye ZerosLike Detach Copy_ Fill_ Scale_ Add_ Clamp_
	Eq EqScalar LeScalar Not NonZero ArgMax From FromBytes Grad SetRequiresGrad Keep
	AllGather`) // its gradient is of several processes; see package dist

// Gradients of a weighted sum of the result against central differences.
func TestGradients(t *testing.T) {
	for _, c := range gradientCases {
		t.Run(c.name, func(t *testing.T) {
			ManualSeed(3)
			Scope(func() {
				var inputs []*Tensor
				for _, shape := range c.shapes {
					x := Randn(CPU, shape...).Cast(Float64)
					inputs = append(inputs, x.Detach().SetRequiresGrad(true))
				}
				weights := Randn(CPU, c.f(inputs).Shape()...).Cast(Float64)
				value := func() *Tensor { return c.f(inputs).Mul(weights).Sum() }
				value().Backward()
				for i, x := range inputs {
					analytic := To[float64](x.Grad())
					data := To[float64](x.Detach())
					for j := range data {
						const h = 1e-5
						at := func(v float64) (out float64) {
							NoGrad(func() {
								moved := append([]float64{}, data...)
								moved[j] = v
								x.Copy_(From(CPU, moved, x.Shape()...))
								out = value().Item()
								x.Copy_(From(CPU, data, x.Shape()...))
							})
							return out
						}
						numeric := (at(data[j]+h) - at(data[j]-h)) / (2 * h)
						if difference := math.Abs(numeric - analytic[j]); difference > 1e-6*(1+math.Abs(numeric)) {
							t.Errorf("input %d, element %d: gradient %g, finite difference %g", i, j, analytic[j], numeric)
						}
					}
				}
			})
		})
	}
}

// Every exported function or method that returns a tensor has a case above or a reason not to.
func TestEveryOperatorIsChecked(t *testing.T) {
	known := map[string]bool{}
	for _, c := range gradientCases {
		known[c.name] = true
	}
	for _, name := range withoutGradient {
		known[name] = true
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Type.Results == nil {
				continue
			}
			star, ok := f.Type.Results.List[0].Type.(*ast.StarExpr)
			if !ok {
				continue
			}
			if id, ok := star.X.(*ast.Ident); ok && id.Name == "Tensor" && !known[f.Name.Name] {
				t.Errorf("%s: %s has no gradient check", name, f.Name.Name)
			}
		}
	}
}

func TestAutocastComputesInBFloat16AndKeepsWeights(t *testing.T) {
	Scope(func() {
		w := Randn(CPU, 8, 8).SetRequiresGrad(true)
		x := Randn(CPU, 4, 8)
		var y *Tensor
		Autocast(CPU, BFloat16, func() { y = Linear(x, w, nil) })
		if y.DType() != BFloat16 {
			t.Fatalf("product is %v", y.DType())
		}
		y.Cast(Float32).Sum().Backward()
		if got := w.Grad().DType(); got != Float32 {
			t.Errorf("gradient is %v", got)
		}
		if got := Linear(x, w, nil).DType(); got != Float32 {
			t.Errorf("autocast is still on after its function: %v", got)
		}
	})
}

// The handles that are alive must not grow with the steps of a loop in scopes.
func BenchmarkStepMemory(b *testing.B) {
	w := Randn(CPU, 256, 256).Keep().SetRequiresGrad(true)
	opt := &AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Groups: []ParamGroup{{Params: []*Tensor{w}}}}
	step := func() {
		Scope(func() {
			Linear(Randn(CPU, 64, 256), w, nil).ReLU().Mean().Backward()
			opt.Step(1e-3, 1)
		})
	}
	step()
	live, before := Live(), residentBytes(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(Live()-live), "handles-grown")
	b.ReportMetric(float64(residentBytes(b)-before)/(1<<20), "RSS-grown-MiB")
}

// A thousand steps leave neither handles nor resident memory behind.
func TestMemoryIsFlatOverAThousandSteps(t *testing.T) {
	w := Randn(CPU, 128, 128).Keep().SetRequiresGrad(true)
	defer w.Free()
	opt := &AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Groups: []ParamGroup{{Params: []*Tensor{w}}}}
	step := func() {
		Scope(func() {
			Linear(Randn(CPU, 256, 128), w, nil).ReLU().Mean().Backward()
			opt.Step(1e-3, 1)
		})
	}
	for range 100 {
		step()
	}
	live, resident := Live(), residentBytes(t)
	for range 1000 {
		step()
	}
	if got := Live(); got != live {
		t.Errorf("%d handles more after 1000 steps", got-live)
	}
	// One leaked activation a step would be 128 KiB·1000 = 125 MiB.
	if grown := residentBytes(t) - resident; grown > 20<<20 {
		t.Errorf("resident memory grew by %d MiB in 1000 steps", grown>>20)
	}
}
