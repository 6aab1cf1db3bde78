// Package milvustest runs a real Milvus server for tests.
package milvustest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Server is a process of Milvus Lite that listens on a port of this machine.
type Server struct {
	Address string // host:port

	t       *testing.T
	binary  string
	data    string
	process *exec.Cmd
}

// Start starts a server with an empty database, and ends it with the test. The
// environment variable ARF_TEST_MILVUS names its program, which is called with
// a database file, the address and a log level as milvus-lite's is; without it
// the test is skipped.
func Start(t *testing.T) *Server {
	t.Helper()
	binary := os.Getenv("ARF_TEST_MILVUS")
	if binary == "" {
		t.Skip("ARF_TEST_MILVUS doesn't name a Milvus server; `make test-milvus` fetches one from PyPI and runs this test")
	}
	s := &Server{Address: FreeAddress(t), t: t, binary: binary, data: filepath.Join(t.TempDir(), "milvus.db")}
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// FreeAddress is one that nothing listens on.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Run starts the server, again after Kill: with the data that it had.
func (s *Server) Run() {
	s.t.Helper()
	s.process = exec.Command(s.binary, s.data, s.Address, "ERROR")
	s.process.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(s.binary))
	s.process.Dir = filepath.Dir(s.data)
	s.process.Stderr = os.Stderr
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s doesn't listen on %s: %v", s.binary, s.Address, err)
		}
	}
}

// Kill ends the server at once, as a machine that fails does.
func (s *Server) Kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
}

// Pid is the server's process.
func (s *Server) Pid() int { return s.process.Process.Pid }
