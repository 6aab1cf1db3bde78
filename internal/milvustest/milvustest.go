// Package milvustest runs real Milvus servers for tests.
package milvustest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Server is a process that listens on a port of this machine.
type Server struct {
	Address string // host:port
	// Lite is Milvus Lite, which has fewer indexes and no sign-in.
	Lite bool

	t       *testing.T
	binary  string
	dir     string // everything that it writes
	health  string // what it answers once it's ready; "" is that it listens
	args    []string
	env     []string
	process *exec.Cmd
	ended   chan struct{} // closed once the process has
}

// Options of a Standalone.
type Options struct {
	SignIn bool // asks for a user and password; there is root with Milvus
}

// Each runs a test against a server of each kind, with an empty database, and
// ends it with the test. Kinds that no environment variable names are skipped.
func Each(t *testing.T, f func(t *testing.T, s *Server)) {
	t.Run("standalone", func(t *testing.T) { f(t, Standalone(t, Options{})) })
	t.Run("lite", func(t *testing.T) { f(t, lite(t)) })
}

// program is what an environment variable names.
func program(t *testing.T, env string) string {
	t.Helper()
	binary := os.Getenv(env)
	if binary == "" {
		t.Skip(env + " doesn't name a Milvus server; `make test-milvus` fetches one from PyPI and runs this test")
	}
	return binary
}

// lite starts Milvus Lite.
func lite(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, binary: program(t, "ARF_TEST_MILVUS_LITE"), dir: t.TempDir(), Address: FreeAddress(t), Lite: true}
	s.args = []string{filepath.Join(s.dir, "milvus.db"), s.Address, "ERROR"}
	return s.start()
}

// Standalone starts Milvus itself, all its parts in one process.
func Standalone(t *testing.T, o Options) *Server {
	t.Helper()
	s := &Server{t: t, binary: program(t, "ARF_TEST_MILVUS"), dir: t.TempDir()}
	ports := freePorts(t, 9)
	s.Address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	s.health = fmt.Sprintf("http://127.0.0.1:%d/healthz", ports[1])
	s.args = []string{"run", "standalone"}
	s.env = []string{"MILVUSCONF=" + s.dir, "DEPLOY_MODE=STANDALONE", fmt.Sprintf("METRICS_PORT=%d", ports[1])}
	config := fmt.Sprintf(`
etcd: {use: {embed: true}, data: {dir: %[1]s/etcd}, config: {path: %[1]s/etcd.yaml}, log: {path: %[1]s/etcd.log}}
localStorage: {path: %[1]s/files}
rocksmq: {path: %[1]s/rocksmq}
mq: {type: rocksmq}
common:
  storageType: local
  security: {authorizationEnabled: %[2]t}
log: {level: warn, file: {rootPath: %[1]s}}
proxy: {ip: 127.0.0.1, port: %[3]d, internalPort: %[4]d, grpc: {serverMaxRecvSize: 67108864}}
rootCoord: {ip: 127.0.0.1, port: %[5]d}
dataCoord: {ip: 127.0.0.1, port: %[6]d}
queryCoord: {ip: 127.0.0.1, port: %[7]d}
dataNode: {ip: 127.0.0.1, port: %[8]d}
indexNode: {ip: 127.0.0.1, port: %[9]d, enableDisk: true}
queryNode: {ip: 127.0.0.1, port: %[10]d, enableDisk: true}
`, s.dir, o.SignIn, ports[0], ports[2], ports[3], ports[4], ports[5], ports[6], ports[7], ports[8])
	// The only member of the cluster is reached within the process; it needn't know its own ports.
	etcd := `
data-dir: ` + s.dir + `/etcd
listen-client-urls: http://127.0.0.1:0
listen-peer-urls: http://127.0.0.1:0
`
	const glog = "--logtostderr=true\n--minloglevel=1\n"
	for name, text := range map[string]string{"milvus.yaml": config, "etcd.yaml": etcd, "glog.conf": glog} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s.start()
}

// FreeAddress is one that nothing listens on.
func FreeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
}

// freePorts are different ones that nothing listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (s *Server) start() *Server {
	s.Run()
	s.t.Cleanup(s.Kill)
	return s
}

// Run starts the server, again after Kill: with the data that it had.
func (s *Server) Run() {
	s.t.Helper()
	output := filepath.Join(s.dir, "output")
	w, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Close()
	s.process = exec.Command(s.binary, s.args...)
	s.process.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(s.binary))
	s.process.Env = append(s.process.Env, s.env...)
	s.process.Dir = s.dir
	s.process.Stdout, s.process.Stderr = w, w
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() { _ = s.process.Wait(); close(s.ended) }()
	late, tick := time.After(2*time.Minute), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		if err = s.ready(); err == nil {
			return
		}
		select {
		case <-tick.C:
			continue
		case <-s.ended:
			err = errors.New(s.process.ProcessState.String())
		case <-late:
		}
		text, _ := os.ReadFile(output)
		s.t.Fatalf("%s isn't ready on %s: %v; the end of its output:\n%s", s.binary, s.Address, err, text[max(0, len(text)-8000):])
	}
}

// ready says why the server can't be used yet.
func (s *Server) ready() error {
	if s.health == "" {
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			c.Close()
		}
		return err
	}
	answer, err := http.Get(s.health)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !bytes.Equal(text, []byte("OK"))) {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return err
}

// Kill ends the server at once, as a machine that fails does.
func (s *Server) Kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		<-s.ended
		// The one thing that Milvus writes elsewhere.
		_ = os.Remove(fmt.Sprintf("/tmp/milvus/server_id_%d", s.process.Process.Pid))
		s.process = nil
	}
}

// Pid is the server's process.
func (s *Server) Pid() int { return s.process.Process.Pid }
