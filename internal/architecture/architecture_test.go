// Package architecture checks the house's first rule: imports only run down (docs/architecture.md).
package architecture

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors orders the packages: each may import those of lower floors only.
var floors = map[string]int{
	"internal/sharedlib": 0, "internal/milvustest": 0, "internal/buckettest": 0, "internal/ram": 0, "internal/atomicfile": 0,
	"torch": 1, "faiss": 1, "milvus": 1, "remote": 1, "text": 1, "imaging": 1, "config": 1, "internal/doctor": 1, "internal/parquetfile": 1,
	"checkpoint": 2, "dataset": 2, "dist": 2, "profile": 2,
	"hub": 3,
	"nn":  3, "index": 3, "internal/disttest": 3, "internal/graphtest": 4,
	"clip": 4, "corpus": 4, "train": 4,
	"captioner": 5, "internal/cliptest": 5,
	"anchor": 6, "eval": 6, "pretrain": 6,
	"finetune": 7, "report": 7, "suite": 7,
	"pipeline": 8, "results": 8,
	"internal/cli": 9,
	"cmd/arf":      10, "cmd/bench": 10,
}

func TestImportsRunDown(t *testing.T) {
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			switch base := d.Name(); {
			case path == root:
			case strings.HasPrefix(base, "."), base == "node_modules", base == "testdata", rel == "data", rel == "runs", rel == "build", rel == "bin":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		floor, ok := floors[pkg]
		if !ok {
			t.Errorf("package %s has no floor; give it one in this test and in docs/architecture.md", pkg)
			return nil
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imported, ok = strings.CutPrefix(imported, "arf/"); ok {
				checked++
				if floors[imported] >= floor {
					t.Errorf("%s (floor %d) imports arf/%s (floor %d)", rel, floor, imported, floors[imported])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Error("no import was checked")
	}
}
