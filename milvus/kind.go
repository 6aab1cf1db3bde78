package milvus

import (
	"fmt"
	"math"

	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
)

// Auto has the server choose the index: a graph (HNSW) in Milvus, all vectors in Milvus Lite.
const Auto = "AUTOINDEX"

// Sizes of the indexes: Milvus's defaults of M and efConstruction, and its advice for nlist (4·√rows, at most 65536).
const (
	graphLinks  = 30
	graphEffort = 360
	mostLists   = 1 << 16
	mostEf      = 1 << 15
)

// kinds are the indexes that arf creates, and the parameter that sets how much of each a search looks at.
var kinds = map[string]string{
	Auto: "ef", "FLAT": "", "HNSW": "ef", "IVF_FLAT": "nprobe", "IVF_SQ8": "nprobe", "DISKANN": "search_list",
}

func lists(rows int) int { return min(max(int(4*math.Sqrt(float64(rows))), 1), mostLists) }

func newIndex(kind string, rows int) index.Index {
	switch kind {
	case "FLAT":
		return index.NewFlatIndex(entity.IP)
	case "HNSW":
		return index.NewHNSWIndex(entity.IP, graphLinks, graphEffort)
	case "IVF_FLAT":
		return index.NewIvfFlatIndex(entity.IP, lists(rows))
	case "IVF_SQ8":
		return index.NewIvfSQ8Index(entity.IP, lists(rows))
	case "DISKANN":
		return index.NewDiskANNIndex(entity.IP)
	}
	return index.NewAutoIndex(entity.IP)
}

// searchParam says how much of the index a search for k rows looks at.
func (x *Collection) searchParam(k int) index.AnnParam {
	p := index.NewCustomAnnParam()
	switch name := kinds[x.Kind]; name {
	case "":
	case "nprobe":
		p.WithExtraParam(name, min(x.effort, lists(x.Rows)))
	default:
		p.WithExtraParam(name, min(max(x.effort, k), mostEf))
	}
	return p
}

// Set sets how much of the index searches look at, by FAISS's name of it: nprobe, clusters, or efSearch, vertices of a
// graph. A name that the index hasn't is an error.
func (x *Collection) Set(name string, value int) error {
	own := kinds[x.Kind]
	if name == "nprobe" && own == "nprobe" || name == "efSearch" && own != "nprobe" && own != "" {
		x.effort = value
		return nil
	}
	return fmt.Errorf("index %s has no %s", x.Kind, name)
}
