package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockNamesWhoHasIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	unlock, err := Lock(dir, "give --out")
	if err != nil {
		t.Fatal(err)
	}
	// A second open of the file is another holder, also within a process.
	_, err = Lock(dir, "give --out")
	if err == nil {
		t.Fatal("locked twice")
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d on ", os.Getpid()), os.Args[0], "give --out"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	// Neither a training may use the folder.
	if err := Run(context.Background(), newRegression(), options(dir, 2)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	unlock()
	if err := Run(context.Background(), newRegression(), options(dir, 2)); err != nil {
		t.Fatal(err)
	}
	if unlock, err = Lock(dir, ""); err != nil {
		t.Fatalf("after a run: %v", err)
	}
	unlock()
}

// The lock's file stays, and is shown to whoever tries the folder.
func TestLockHoldsNoSecrets(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{"arf", "run", "--set", "data.pool.path=https://user:PW@example.org/{0..9}.tar?sig=SIG"}
	dir := filepath.Join(t.TempDir(), "run")
	unlock, err := Lock(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	text, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil || strings.Contains(string(text), "PW") || strings.Contains(string(text), "SIG") || !strings.Contains(string(text), "example.org/{0..9}.tar") {
		t.Errorf("%s, %v", text, err)
	}
}
