package torch

import "testing"

func TestCollectiveFailed(t *testing.T) {
	for e, want := range map[Error]bool{
		{"all_reduce", "process group: Connection closed by peer"}:                              true,
		{"backward", "[./gloo/transport/tcp/pair.cc:589] Read error: Connection reset by peer"}: true,
		{"backward", "element 0 of tensors does not require grad and does not have a grad_fn"}:  false,
		{"aten::linear", "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"}:             false,
	} {
		if got := e.CollectiveFailed(); got != want {
			t.Errorf("%v: %v, want %v", &e, got, want)
		}
	}
}
