package dist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The watch is a TCP connection from every process to rank 0, beside those of
// the collectives. It tells all processes why one ended, within seconds: a dead
// process's connection breaks, a hung or unplugged machine's falls silent.
// Collectives alone would say that some connection broke, or wait.

// timing says how often the watch sends a sign of life, after what silence a
// process counts as dead, how long one whose collective failed waits to hear
// why, and how long one that failed stays until the others know. A death is
// reported within silence + linger, so these stay below 30 s together.
type timing struct{ hello, ping, silence, verdict, linger time.Duration }

var usual = timing{hello: 5 * time.Second, ping: 2 * time.Second, silence: 15 * time.Second, verdict: 20 * time.Second, linger: 3 * time.Second}

// message is a line of JSON on a watch connection.
type message struct {
	Hello   *member  `json:"hello,omitempty"`
	Welcome *welcome `json:"welcome,omitempty"`
	Cause   *cause   `json:"cause,omitempty"`
	Bye     bool     `json:"bye,omitempty"`
	// Found is how many of Agree's values rank 0 has found so far.
	Found uint64 `json:"found,omitempty"`
}

// welcome is rank 0's answer to hello, once all are there.
type welcome struct {
	From    member
	Address string // of rank 0's machine
}

// member says who a process is.
type member struct {
	Rank, Size, PID int
	Host, Engine    string
}

func (m member) String() string {
	return fmt.Sprintf("rank %d (process %d on %s)", m.Rank, m.PID, m.Host)
}

// cause is why the group ended: the first failure of any process.
type cause struct {
	Rank        int
	Text        string
	Interrupted bool // by Ctrl-C or SIGTERM
}

func (c *cause) Error() string { return c.Text }

// Is makes an interruption of another process count as this one's.
func (c *cause) Is(target error) bool { return c.Interrupted && target == context.Canceled }

// peer is one end of a watch connection.
type peer struct {
	member member
	conn   net.Conn
	mu     sync.Mutex // of writing
	ended  chan struct{}
}

func (p *peer) send(m message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	return json.NewEncoder(p.conn).Encode(m)
}

// watch is this process's view of the others.
type watch struct {
	own     member
	peers   []*peer // at rank 0 all others, else rank 0
	address string  // of this machine, as the others reach it
	t       timing

	once   sync.Once
	failed chan struct{} // closed once cause is set
	cause  *cause
	onFail func(*cause)

	found    atomic.Uint64 // see message
	foundOne chan struct{}

	done    chan struct{} // closed when this process leaves
	leaving sync.Once
	wg      sync.WaitGroup
}

func newWatch(own member, t timing) *watch {
	return &watch{own: own, t: t, failed: make(chan struct{}), foundOne: make(chan struct{}, 1), done: make(chan struct{})}
}

// listenWatch is rank 0's side: it tells others its port by publish and waits
// until all have said hello.
func listenWatch(ctx context.Context, own member, t timing, publish func(port string) error) (*watch, error) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := publish(port); err != nil {
		return nil, err
	}
	w := newWatch(own, t)
	fail := func(err error) (*watch, error) {
		for _, p := range w.peers {
			_ = p.send(message{Cause: &cause{Rank: own.Rank, Text: err.Error()}})
			p.conn.Close()
		}
		return nil, err
	}
	for len(w.peers) < own.Size-1 {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return fail(fmt.Errorf("%d of %d processes joined, rank %s did not: %w", len(w.peers)+1, own.Size, w.missing(), context.Cause(ctx)))
			}
			return fail(err)
		}
		p := &peer{conn: conn, ended: make(chan struct{})}
		_ = conn.SetReadDeadline(time.Now().Add(t.hello))
		var m message
		if err := json.NewDecoder(&unbuffered{conn}).Decode(&m); err != nil || m.Hello == nil {
			conn.Close() // something else knocked
			continue
		}
		p.member = *m.Hello
		if err := w.admit(p); err != nil {
			_ = p.send(message{Cause: &cause{Rank: own.Rank, Text: err.Error()}})
			conn.Close()
			return fail(err)
		}
		w.peers = append(w.peers, p)
	}
	w.address = w.ownAddress()
	for _, p := range w.peers {
		if err := p.send(message{Welcome: &welcome{own, w.address}}); err != nil {
			return fail(fmt.Errorf("%s died: %w", p.member, err))
		}
	}
	return w, nil
}

// admit checks who wants to join.
func (w *watch) admit(p *peer) error {
	m := p.member
	if m.Size != w.own.Size {
		return fmt.Errorf("%s counts %d processes, rank 0 %d; give all the same WORLD_SIZE", m, m.Size, w.own.Size)
	}
	if m.Engine != w.own.Engine {
		return fmt.Errorf("%s runs %s, rank 0 %s; use one build on all machines", m, m.Engine, w.own.Engine)
	}
	for _, other := range append([]member{w.own}, w.members()...) {
		if other.Rank == m.Rank {
			return fmt.Errorf("process %d on %s and process %d on %s both have rank %d; give each its own RANK", other.PID, other.Host, m.PID, m.Host, m.Rank)
		}
	}
	return nil
}

func (w *watch) members() []member {
	var all []member
	for _, p := range w.peers {
		all = append(all, p.member)
	}
	return all
}

func (w *watch) missing() string {
	var names []string
	for rank := range w.own.Size {
		if rank != w.own.Rank && !slices.ContainsFunc(w.peers, func(p *peer) bool { return p.member.Rank == rank }) {
			names = append(names, strconv.Itoa(rank))
		}
	}
	return strings.Join(names, ", ")
}

// ownAddress is this machine's by which another machine's process came, where
// there is one; the loopback where all are on this machine.
func (w *watch) ownAddress() string {
	address := "127.0.0.1"
	for _, p := range w.peers {
		if local := p.conn.LocalAddr().(*net.TCPAddr).IP; !local.IsLoopback() {
			address = local.String()
			if p.member.Host != w.own.Host {
				return address
			}
		}
	}
	return address
}

// joinWatch is the others' side.
func joinWatch(ctx context.Context, own member, t timing, address string) (*watch, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach rank 0: %w", err)
	}
	w := newWatch(own, t)
	p := &peer{conn: conn, ended: make(chan struct{})}
	w.peers = []*peer{p}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	if err := p.send(message{Hello: &own}); err != nil {
		return nil, fmt.Errorf("reach rank 0: %w", err)
	}
	var m message
	if err := json.NewDecoder(&unbuffered{conn}).Decode(&m); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("rank 0 ended before all had joined: %w", err)
	}
	if m.Cause != nil {
		conn.Close()
		return nil, m.Cause
	}
	if m.Welcome == nil {
		conn.Close()
		return nil, errors.New("rank 0 is another program")
	}
	p.member, w.address = m.Welcome.From, m.Welcome.Address
	if local := conn.LocalAddr().(*net.TCPAddr).IP; !local.IsLoopback() {
		w.address = local.String()
	}
	return w, nil
}

// unbuffered gives a decoder one byte at a time, so that it takes no more than
// its message.
type unbuffered struct{ net.Conn }

func (u *unbuffered) Read(b []byte) (int, error) {
	if len(b) > 1 {
		b = b[:1]
	}
	return u.Conn.Read(b)
}

// start begins to watch; onFail is called once, with the first failure of any process.
func (w *watch) start(onFail func(*cause)) {
	w.onFail = onFail
	for _, p := range w.peers {
		w.wg.Go(func() { w.listen(p) })
	}
	w.wg.Go(func() {
		tick := time.NewTicker(w.t.ping)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-w.done:
				return
			}
			for _, p := range w.peers {
				_ = p.send(message{}) // a break shows in listen
			}
		}
	})
}

// listen hears a peer until it leaves.
func (w *watch) listen(p *peer) {
	defer close(p.ended)
	decoder := json.NewDecoder(p.conn)
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(w.t.silence))
		var m message
		if err := decoder.Decode(&m); err != nil {
			select {
			case <-w.done:
				return
			default:
			}
			text := p.member.String() + " died"
			if errors.Is(err, os.ErrDeadlineExceeded) {
				text = fmt.Sprintf("%s has not been heard of for %v", p.member, w.t.silence)
			}
			w.fail(&cause{Rank: p.member.Rank, Text: text})
			return
		}
		switch {
		case m.Cause != nil:
			w.fail(m.Cause)
		case m.Bye:
			return
		case m.Found > 0:
			w.found.Store(m.Found)
			select {
			case w.foundOne <- struct{}{}:
			default:
			}
		}
	}
}

// announce tells the others that rank 0 has found n of Agree's values.
func (w *watch) announce(n uint64) {
	for _, p := range w.peers {
		_ = p.send(message{Found: n}) // a break shows in listen
	}
}

// await waits until rank 0 has found n values, for as long as it lives.
func (w *watch) await(n uint64) error {
	for w.found.Load() < n {
		select {
		case <-w.foundOne:
		case <-w.failed:
			return errAbandoned
		}
	}
	return nil
}

// fail records the first cause and tells it to the others.
func (w *watch) fail(c *cause) {
	w.once.Do(func() {
		w.cause = c
		close(w.failed)
		for _, p := range w.peers {
			_ = p.send(message{Cause: c})
		}
		if w.onFail != nil {
			w.onFail(c)
		}
	})
}

// leave ends the watch. After a failure it lingers until the others know.
func (w *watch) leave() {
	w.leaving.Do(func() {
		close(w.done)
		for _, p := range w.peers {
			_ = p.send(message{Bye: true})
			if c, ok := p.conn.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
		}
		deadline := time.After(w.t.linger)
		for _, p := range w.peers {
			select {
			case <-p.ended:
			case <-deadline:
				deadline = time.After(0)
			}
		}
		for _, p := range w.peers {
			p.conn.Close()
		}
		w.wg.Wait()
	})
}
