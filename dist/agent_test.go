package dist_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"arf/dist"
	"arf/internal/disttest"
	"arf/torch"
)

// Under torchrun the agent serves the store, which this test's process stands
// for: all ranks are its clients, and those of a restart aren't misled by what
// the ones before them left there.
func TestTheAgentServesTheStore(t *testing.T) {
	port := freePort(t)
	number, _ := strconv.Atoi(port)
	store, err := torch.OpenStore("127.0.0.1", number, true, "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for restart := range 2 {
		ranks := disttest.StartEnv(t, 2, []string{
			"MASTER_PORT=" + port, "TORCHELASTIC_USE_AGENT_STORE=True", "TORCHELASTIC_RESTART_COUNT=" + strconv.Itoa(restart),
		}, "gradients")
		ranks.Wait(t, time.Minute)
		for rank, r := range ranks {
			if r.Status != nil {
				t.Errorf("restart %d, rank %d: %v\n%s", restart, rank, r.Status, r.Err.String())
			}
		}
		// Where the ranks of this restart met.
		prefixed, err := torch.OpenStore("127.0.0.1", number, false, "/worker/attempt_"+strconv.Itoa(restart), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := prefixed.Get("watch"); err != nil {
			t.Errorf("restart %d: %v", restart, err)
		}
		prefixed.Close()
	}
}

// A store of another PyTorch reads something else and doesn't answer.
func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// It reads until this program ends: libtorch ends the program where a store
	// resets its connection.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	for name, value := range map[string]string{
		"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": fmt.Sprint(listener.Addr().(*net.TCPAddr).Port),
		"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
	} {
		t.Setenv(name, value)
	}
	e, err := dist.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	_, err = dist.Open(context.Background(), e, torch.CPU, dist.Options{Join: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1") || !strings.Contains(err.Error(), "LIBTORCH") {
		t.Errorf("got %v", err)
	}
}
