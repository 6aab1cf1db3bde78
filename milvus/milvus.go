// Package milvus is a thin Go face of Milvus (Wang et al., SIGMOD 2021), a
// vector database on other machines, which finds approximate nearest neighbours
// in more vectors than one machine holds. Package index says what its
// collections hold; this one only calls the server, through the official client.
//
// A server that goes away is asked again for a while. What it has got by then
// stays there, and the next Open goes on behind it.
package milvus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
	"github.com/milvus-io/milvus/pkg/v2/log"
	"github.com/milvus-io/milvus/pkg/v2/util/merr"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Errors that a caller may tell apart. Messages name the settings of a run's
// config below anchors.pairs.milvus.
var (
	ErrGone  = errors.New("the Milvus server doesn't answer")
	ErrOther = errors.New("the Milvus collection holds something else")
)

// TokenEnv is the environment variable that has the server's API key, or
// user:password; unset, none is sent.
const TokenEnv = "ARF_MILVUS_TOKEN"

// Options say where the server is.
type Options struct {
	Address string // host:port, or http(s)://host:port[/database]
	Token   string // API key or user:password; "" sends none
	// Patience is how long a call that fails is begun again; 0 is 30 s. The client
	// repeats each try for 22 s by itself where it can't reach the server.
	Patience time.Duration
}

// Client is a connection to a server. It's safe for concurrent use.
type Client struct {
	c        *milvusclient.Client
	address  string
	patience time.Duration
}

// callTimeout bounds one try of one call. A server that is gone is noticed
// earlier, by its silence on the connection.
const callTimeout = 5 * time.Minute

// recovery is how long a call is begun again at least that meets a server which
// answers, but has just been restarted.
const recovery = 2 * time.Minute

// Connect finds the server and signs in.
func Connect(ctx context.Context, o Options) (*Client, error) {
	c := &Client{address: o.Address, patience: o.Patience}
	if c.patience == 0 {
		c.patience = 30 * time.Second
	}
	if o.Address == "" {
		return nil, errors.New("no Milvus server is given; set anchors.pairs.milvus.address, such as localhost:19530")
	}
	// The client writes of every failed try to stderr; call tells of them.
	log.SetLevel(zapcore.FatalLevel)
	err := c.call(ctx, "connect", func(ctx context.Context) (err error) {
		c.c, err = milvusclient.New(ctx, &milvusclient.ClientConfig{
			Address: o.Address, APIKey: o.Token,
			// The client's own, but without waiting in silence for a server that isn't there.
			DialOptions: []grpc.DialOption{
				// Servers of gRPC's defaults, such as Milvus Lite, hang up at the third ping within 5 minutes.
				grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 2 * time.Minute, Timeout: 20 * time.Second}),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
			},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() { _ = c.c.Close(context.Background()) }

// call makes one request and repeats it, with growing pauses, while the server
// is away or asks for it.
func (c *Client) call(ctx context.Context, what string, f func(context.Context) error) error {
	start := time.Now()
	wait := backoff.NewExponentialBackOff() // with jitter
	wait.InitialInterval, wait.MaxInterval = 250*time.Millisecond, 5*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := f(try)
		patience := c.patience
		if err != nil && recovering(err) {
			patience = max(patience, recovery)
		}
		if err != nil && (ctx.Err() != nil || !passing(err) || time.Since(start) > patience) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, pause time.Duration) {
		slog.Warn("the Milvus server has to be asked again", "address", c.address, "to", what, "in", pause.Round(time.Millisecond), "error", err)
	}))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case passing(err):
		return fmt.Errorf("%w at %s: %s, tried for %s: %w; start it, or correct anchors.pairs.milvus.address; the same command then goes on with what the server has", ErrGone, c.address, what, time.Since(start).Round(time.Second), err)
	case status.Code(err) == codes.Unauthenticated || status.Code(err) == codes.PermissionDenied || errors.Is(err, merr.ErrPrivilegeNotAuthenticated):
		return fmt.Errorf("Milvus at %s refuses to %s: %w; set %s to an API key or user:password that may", c.address, what, err, TokenEnv)
	}
	return fmt.Errorf("Milvus at %s: %s: %w", c.address, what, err)
}

// passing tells an error that another try may not meet.
func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || merr.IsRetryableErr(err) || recovering(err)
}

// recovering tells an error of a server that was killed and restarted: it calls
// its old parts until their sessions run out, after a minute. Milvus 2.3 has
// only words for that.
func recovering(err error) bool {
	for _, words := range []string{"node not match", "NodeNotFound", "node not found", "unrecoverable error", "client connection is closing"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}
