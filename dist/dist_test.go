package dist_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arf/dist"
	"arf/internal/disttest"
	"arf/torch"
)

func TestMain(m *testing.M) {
	disttest.Main(map[string]disttest.Worker{
		"collectives": collectives, "gradients": gradients, "reducer": reducer, "forever": forever, "fails": fails, "sums": sums,
		"rows": gathersRows, "nested": nested, "overlap": overlap,
	})
	os.Exit(m.Run())
}

// collectives prints what each gives at this rank.
func collectives(_ context.Context, g *dist.Group, _ []string) (err error) {
	defer torch.Catch(&err)
	rank := float64(g.Rank())
	sum := []float64{1, rank, math.Pow(2, rank)}
	if err := g.Sum(sum); err != nil {
		return err
	}
	fmt.Println(sum)
	// Also a view that isn't contiguous.
	t := torch.From(torch.CPU, []float32{1, 2, 3, float32(rank)}, 2, 2).Transpose(0, 1)
	if err := g.AllReduce(t); err != nil {
		return err
	}
	fmt.Println(torch.To[float32](t))
	all, err := g.AllGather(torch.From(torch.CPU, []int64{int64(rank), 7}, 1, 2))
	if err != nil {
		return err
	}
	fmt.Println(all.Shape(), torch.To[int64](all))
	b := torch.From(torch.CPU, []float32{float32(rank) + 5, 1}, 2)
	if err := g.Broadcast(b); err != nil {
		return err
	}
	fmt.Println(torch.To[float32](b))
	parts, err := g.Gather([]byte(strings.Repeat("x", g.Rank())))
	if err != nil {
		return err
	}
	fmt.Printf("%q\n", parts)
	said, err := dist.Agree(g, func() (string, error) { return fmt.Sprintf("from rank %d", g.Rank()), nil })
	if err != nil {
		return err
	}
	fmt.Println(said)
	return g.Barrier()
}

func TestCollectives(t *testing.T) {
	for _, n := range []int{2, 3} {
		out := disttest.Run(t, n, "collectives")
		var gathered []int
		var parts []string
		ranks := 0
		for i := range n {
			gathered = append(gathered, i, 7)
			parts = append(parts, strings.Repeat("x", i))
			ranks += i
		}
		want := fmt.Sprintln([]float64{float64(n), float64(ranks), math.Pow(2, float64(n)) - 1}) +
			fmt.Sprintln([]float32{float32(n), 3 * float32(n), 2 * float32(n), float32(ranks)}) +
			fmt.Sprintln([]int{n, 2}, gathered) +
			fmt.Sprintln([]float32{5, 1}) +
			fmt.Sprintf("%q\nfrom rank 0\n", parts)
		for i, got := range out {
			if got != want {
				t.Errorf("rank %d of %d gives\n%swant\n%s", i, n, got, want)
			}
		}
	}
}

// gradients prints the gradient of Σ_r (r+1)·Σ w∘gather(x) for this rank's x.
func gradients(_ context.Context, g *dist.Group, _ []string) (err error) {
	defer torch.Catch(&err)
	x := torch.From(torch.CPU, []float32{1, 2}, 1, 2).SetRequiresGrad(true)
	all, err := g.AllGather(x)
	if err != nil {
		return err
	}
	w := make([]float32, 2*g.Size())
	for i := range w {
		w[i] = float32(i) * float32(g.Rank()+1)
	}
	all.Mul(torch.From(torch.CPU, w, g.Size(), 2)).Sum().Backward()
	fmt.Println(torch.To[float32](x.Grad()))
	return nil
}

func TestGatheredRowsHaveTheGradientsOfAllLosses(t *testing.T) {
	for i, got := range disttest.Run(t, 3, "gradients") {
		// The losses weigh 1 + 2 + 3.
		if want := fmt.Sprintln([]float32{6 * float32(2*i), 6 * float32(2*i+1)}); got != want {
			t.Errorf("rank %d has the gradient %swant %s", i, got, want)
		}
	}
}

// reducer prints summed gradients of three steps; a parameter may have none.
func reducer(_ context.Context, g *dist.Group, args []string) (err error) {
	defer torch.Catch(&err)
	size, _ := strconv.Atoi(args[0])
	var params []*torch.Tensor
	for range 4 {
		params = append(params, torch.From(torch.CPU, make([]float32, size), size).SetRequiresGrad(true))
	}
	r, err := g.NewReducer(params)
	if err != nil {
		return err
	}
	defer r.Close()
	for step := range 3 {
		torch.Scope(func() {
			// Parameter 2 has a gradient at rank 1 only, parameter 3 nowhere.
			loss := params[0].Sum().Scale(float64(g.Rank() + 1)).Add(params[1].Sum().Scale(float64(step)))
			if g.Rank() == 1 {
				loss = loss.Add(params[2].Sum().Scale(5))
			}
			r.Begin()
			loss.Backward()
			r.Finish()
			for i, p := range params {
				grad := p.Grad()
				if grad == nil {
					fmt.Print(i, ":none ")
					continue
				}
				values := torch.To[float32](grad)
				fmt.Print(i, ":", values[0], " ")
				if slices.Min(values) != slices.Max(values) || len(values) != size {
					err = fmt.Errorf("gradient %d of step %d is not the same everywhere: %v", i, step, values[:min(8, len(values))])
				}
				p.SetGrad(nil)
			}
		})
	}
	return err
}

func TestReducerSumsGradients(t *testing.T) {
	const want = "0:3 1:0 2:5 3:none 0:3 1:2 2:5 3:none 0:3 1:4 2:5 3:none "
	// In one bucket, and in one each.
	for _, size := range []int{3, 5 << 20} {
		for i, got := range disttest.Run(t, 2, "reducer", strconv.Itoa(size)) {
			if got != want {
				t.Errorf("%d elements, rank %d:\n%s, want\n%s", size, i, got, want)
			}
		}
	}
}

// overlap prints how the sums of four parameters' gradients, each a bucket,
// overlapped with the backward passes that made them.
func overlap(_ context.Context, g *dist.Group, _ []string) (err error) {
	defer torch.Catch(&err)
	const size = 5 << 20
	var params []*torch.Tensor
	for range 4 {
		params = append(params, torch.From(torch.CPU, make([]float32, size), size).SetRequiresGrad(true))
	}
	r, err := g.NewReducer(params)
	if err != nil {
		return err
	}
	defer r.Close()
	for range 2 {
		torch.Scope(func() {
			x := torch.Zeros(torch.CPU, torch.Float32, size)
			for _, p := range params {
				x = x.Add(p).Exp()
			}
			r.Begin()
			x.Sum().Backward()
			o := r.Finish()
			fmt.Printf("%d of %d buckets, %d bytes; ", o.Overlapped, o.Buckets, o.Bytes)
			for _, p := range params {
				p.SetGrad(nil)
			}
		})
	}
	return nil
}

// Each bucket but the last is sent while gradients are still being computed.
func TestSumsOverlapWithBackward(t *testing.T) {
	const step = "3 of 4 buckets, 83886080 bytes; "
	for i, got := range disttest.Run(t, 2, "overlap") {
		if got != step+step {
			t.Errorf("rank %d: %s, want %s", i, got, step+step)
		}
	}
}

// forever says that it runs and then works with the others without end.
func forever(ctx context.Context, g *dist.Group, _ []string) error {
	fmt.Println("runs")
	for ctx.Err() == nil {
		if err := g.Barrier(); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func TestADeadProcessIsReportedByAll(t *testing.T) {
	for name, test := range map[string]struct {
		victim int
		signal syscall.Signal
		want   string
		within time.Duration
	}{
		"killed":        {2, syscall.SIGKILL, "rank 2 (process %d on %s) died", 10 * time.Second},
		"leader killed": {0, syscall.SIGKILL, "rank 0 (process %d on %s) died", 10 * time.Second},
		"stopped":       {1, syscall.SIGSTOP, "rank 1 (process %d on %s) has not been heard of for 15s", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rs := disttest.Start(t, 3, "forever")
			rs.Printed(t, "runs", time.Minute)
			victim := rs[test.victim]
			others := slices.Delete(slices.Clone(rs), test.victim, test.victim+1)
			began := time.Now()
			if err := victim.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			others.Wait(t, 40*time.Second)
			host, _ := os.Hostname()
			want := fmt.Sprintf(test.want, victim.Process.Pid, host)
			for _, r := range others {
				if r.Status == nil || !strings.Contains(r.Err.String(), want) {
					t.Errorf("another ends with %v and says %q, want %q", r.Status, r.Err.String(), want)
				}
				if took := r.At.Sub(began); took > test.within {
					t.Errorf("it took %v, want at most %v", took, test.within)
				} else {
					t.Logf("reported and ended after %v", took)
				}
			}
		})
	}
}

// fails has one rank fail while the others wait for it.
func fails(_ context.Context, g *dist.Group, _ []string) error {
	if g.Rank() == 1 {
		return errors.New("no such picture")
	}
	return g.Barrier()
}

func TestAFailureIsReportedByAll(t *testing.T) {
	rs := disttest.Start(t, 3, "fails")
	rs.Wait(t, 20*time.Second)
	for i, r := range rs {
		text := r.Err.String()
		if r.Status == nil || !strings.Contains(text, "no such picture") || i != 1 && !strings.Contains(text, "rank 1") {
			t.Errorf("rank %d: %v, %q", i, r.Status, text)
		}
	}
}

func TestAProcessThatDoesNotComeIsNamed(t *testing.T) {
	port := freePort(t)
	env := func(rank int) *dist.Env {
		for name, value := range map[string]string{"RANK": strconv.Itoa(rank), "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} {
			t.Setenv(name, value)
		}
		e, err := dist.FromEnv()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	second := make(chan error, 1)
	e0, e1 := env(0), env(1)
	go func() {
		_, err := dist.Open(context.Background(), e1, torch.CPU, dist.Options{Join: 10 * time.Second})
		second <- err
	}()
	_, err := dist.Open(context.Background(), e0, torch.CPU, dist.Options{Join: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "2 of 3 processes joined, rank 2 did not") {
		t.Errorf("rank 0: %v", err)
	}
	if err := <-second; err == nil || !strings.Contains(err.Error(), "rank 2 did not") {
		t.Errorf("rank 1: %v", err)
	}
}

// What rank 0 does alone, such as to search a pool of millions, may take longer
// than a collective waits.
func TestRankZeroMayTakeItsTime(t *testing.T) {
	port := freePort(t)
	const timeout = time.Second
	var wg sync.WaitGroup
	for rank := range 2 {
		for name, value := range map[string]string{"RANK": strconv.Itoa(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} {
			t.Setenv(name, value)
		}
		e, err := dist.FromEnv()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			g, err := dist.Open(context.Background(), e, torch.CPU, dist.Options{Join: time.Minute, Timeout: timeout})
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
				return
			}
			for want := range 2 { // the second is found at once
				got, err := dist.Agree(g, func() (int, error) {
					if want == 0 {
						time.Sleep(3 * timeout)
					}
					return want, nil
				})
				if err != nil || got != want {
					t.Errorf("rank %d: got %d, want %d (%v)", rank, got, want, err)
				}
			}
			if err := g.Close(nil); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	wg.Wait()
}

func TestAloneChangesNothing(t *testing.T) {
	var g *dist.Group
	values := []float64{1, 2}
	if err := errors.Join(g.Sum(values), g.Barrier()); err != nil || values[1] != 2 || g.Rank() != 0 || g.Size() != 1 || !g.Leads() {
		t.Errorf("%v, %v", values, err)
	}
	if all, err := dist.GatherOf(g, "x"); err != nil || len(all) != 1 || all[0] != "x" {
		t.Errorf("%v, %v", all, err)
	}
	broken := errors.New("broken")
	if err := g.Close(broken); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	good := map[string]string{"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
	for name, test := range map[string]struct {
		change map[string]string
		want   string // in the error
	}{
		"rank":          {map[string]string{"RANK": "x"}, "RANK"},
		"no rank":       {map[string]string{"RANK": ""}, "RANK"},
		"rank too high": {map[string]string{"RANK": "4"}, "RANK is 4"},
		"size":          {map[string]string{"WORLD_SIZE": "0"}, "WORLD_SIZE"},
		"no port":       {map[string]string{"MASTER_PORT": ""}, "MASTER_PORT"},
		"port":          {map[string]string{"MASTER_PORT": "70000"}, "65535"},
		"no address":    {map[string]string{"MASTER_ADDR": ""}, "MASTER_ADDR"},
		"local rank":    {map[string]string{"LOCAL_RANK": "-1"}, "LOCAL_RANK"},
	} {
		for key, value := range good {
			t.Setenv(key, value)
		}
		for key, value := range test.change {
			t.Setenv(key, value)
		}
		if _, err := dist.FromEnv(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, test.want)
		}
		for key := range test.change {
			os.Unsetenv(key)
		}
	}
	for key, value := range good {
		t.Setenv(key, value)
	}
	e, err := dist.FromEnv()
	if err != nil || e.Rank != 1 || e.Size != 4 || e.LocalRank != 0 || e.LocalSize != 1 || e.Addr != "node0" || e.Port != 29500 {
		t.Errorf("got %+v, %v", e, err)
	}
	t.Setenv("WORLD_SIZE", "1")
	if e, err := dist.FromEnv(); e != nil || err != nil {
		t.Errorf("a process alone: %+v, %v", e, err)
	}
}

// freePort is one that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// sums prints the median seconds of a sum of args[0] bytes; rank 0's count.
func sums(_ context.Context, g *dist.Group, args []string) error {
	for _, arg := range args {
		size, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		t := torch.From(torch.CPU, make([]float32, size/4), size/4)
		var took []float64
		for range 5 + min(50, 100<<20/size) {
			if err := g.Barrier(); err != nil {
				return err
			}
			began := time.Now()
			if err := g.AllReduce(t); err != nil {
				return err
			}
			took = append(took, time.Since(began).Seconds())
		}
		slices.Sort(took)
		fmt.Printf("%d bytes: median %.3g ms, least %.3g ms\n", size, 1000*took[len(took)/2], 1000*took[0])
	}
	return nil
}

// What a sum costs by its size, over the loopback; docs/scaling.md has the numbers.
func BenchmarkAllReduce(b *testing.B) {
	for _, n := range []int{2, 4} {
		b.Run(strconv.Itoa(n)+"-processes", func(b *testing.B) {
			for b.Loop() {
				out := disttest.Run(b, n, "sums", "4", "4096", "262144", "1048576", "26214400", "104857600")
				b.Log("\n" + out[0])
			}
		})
	}
}
