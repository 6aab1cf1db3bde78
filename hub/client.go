package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint = "https://huggingface.co"
	maxInfoBytes    = 64 << 20
	maxTries        = 5 // without a byte in between
	maxRedirects    = 10
)

// errUnreachable is wrapped by errors of the network and of a hub that is down.
var errUnreachable = errors.New("the hub can't be reached")

// client talks to one hub and keeps one cache.
type client struct {
	cache    string
	endpoint *url.URL
	token    string
	offline  bool
	progress func(file string, done, total int64)
	http     *http.Client
	pause    time.Duration // before the second try; twice as long before each next
	stall    time.Duration // without a byte is a broken connection
}

func newClient(o Options, pause time.Duration) (*client, error) {
	c := &client{
		cache: o.Cache, token: o.Token, progress: o.Progress, pause: pause, stall: time.Minute,
		offline: o.Offline || isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE"),
	}
	home, err := homeDir()
	if err != nil {
		return nil, err
	}
	if c.cache == "" {
		c.cache = os.Getenv("HF_HUB_CACHE")
	}
	if c.cache == "" {
		c.cache = os.Getenv("HUGGINGFACE_HUB_CACHE") // its former name
	}
	if c.cache == "" {
		c.cache = filepath.Join(home, "hub")
	}
	if c.cache, err = expand(c.cache); err != nil {
		return nil, err
	}
	if c.token == "" && !isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		c.token = findToken(home)
	}
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = os.Getenv("HF_ENDPOINT")
	}
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	c.endpoint, err = url.Parse(strings.TrimRight(endpoint, "/"))
	if err != nil || c.endpoint.Host == "" || c.endpoint.Scheme != "https" && c.endpoint.Scheme != "http" {
		return nil, fmt.Errorf("HF_ENDPOINT %q is no address; want one like %s", endpoint, defaultEndpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 15 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = 30 * time.Second
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// homeDir is Hugging Face's.
func homeDir() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return expand(home)
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return expand(filepath.Join(cache, "huggingface"))
	}
	return expand(filepath.Join("~", ".cache", "huggingface"))
}

// expand puts in variables and the home folder, as huggingface_hub does.
func expand(path string) (string, error) {
	path = os.ExpandEnv(path)
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && !os.IsPathSeparator(rest[0]) {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of the hub: %w; set HF_HOME", err)
	}
	return filepath.Join(home, rest), nil
}

func findToken(home string) string {
	for _, key := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if token := strings.TrimSpace(os.Getenv(key)); token != "" {
			return token
		}
	}
	path := filepath.Join(home, "token")
	if other := os.Getenv("HF_TOKEN_PATH"); other != "" {
		if expanded, err := expand(other); err == nil {
			path = expanded
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "" // as if not logged in; the hub says if that won't do
	}
	return strings.TrimSpace(string(data))
}

func isTrue(key string) bool {
	switch strings.ToUpper(os.Getenv(key)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// repoInfo is what the hub tells of a revision.
type repoInfo struct {
	Commit   string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

func (i repoInfo) names() []string {
	var names []string
	for _, s := range i.Siblings {
		names = append(names, s.Name)
	}
	return names
}

func (c *client) info(ctx context.Context, r reference) (info repoInfo, err error) {
	at := c.endpoint.JoinPath("api", "models", r.repo, "revision", url.PathEscape(r.revision))
	err = c.retry(ctx, func() (bool, error) {
		response, err := c.do(ctx, http.MethodGet, at, 0)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return false, c.refusal(r, response)
		}
		data, err := io.ReadAll(io.LimitReader(response.Body, maxInfoBytes))
		if err != nil {
			return false, unreachable(err)
		}
		info = repoInfo{}
		if err := json.Unmarshal(data, &info); err != nil {
			return false, fmt.Errorf("%s does not speak the hub's language (%w); check HF_ENDPOINT", at, err)
		}
		return false, nil
	})
	if err == nil && !commit.MatchString(info.Commit) {
		err = fmt.Errorf("%s gives the commit %.50q; check HF_ENDPOINT", at, info.Commit)
	}
	return info, err
}

// metadata is what the hub tells of a file.
type metadata struct {
	etag string   // names its content
	size int64    // -1: not known
	url  *url.URL // gives it, by a redirect to a storage whose addresses don't last
}

// metadata asks for a file without its content. The hub answers for a large file
// with a redirect to its storage, whose own headers aren't the file's.
func (c *client) metadata(ctx context.Context, r reference, sha, name string) (m metadata, err error) {
	at := c.endpoint.JoinPath(r.repo, "resolve", sha, url.PathEscape(name))
	err = c.retry(ctx, func() (bool, error) {
		response, err := c.do(ctx, http.MethodHead, at, 0)
		if err != nil {
			return false, err
		}
		response.Body.Close()
		if response.StatusCode >= 400 {
			return false, c.refusal(r, response)
		}
		h := response.Header
		m = metadata{etag: h.Get("X-Linked-Etag"), size: response.ContentLength, url: response.Request.URL}
		if m.etag == "" {
			m.etag = h.Get("Etag")
		}
		m.etag = strings.Trim(strings.TrimPrefix(m.etag, "W/"), `"`)
		if h.Get("Location") != "" {
			m.size = -1 // of the redirect
		}
		if size, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64); err == nil {
			m.size = size
		}
		if got := h.Get("X-Repo-Commit"); got != "" && got != sha {
			return false, fmt.Errorf("%s gives it at commit %.50q in place of %s; check HF_ENDPOINT", c.endpoint, got, sha)
		}
		if !etag.MatchString(m.etag) {
			return false, fmt.Errorf("%s gives it the ETag %.50q, which names no file of a cache; check HF_ENDPOINT", c.endpoint, m.etag)
		}
		return false, nil
	})
	return m, err
}

// do sends a request, with the token to the hub only, and follows redirects; of
// HEAD those within the host only (of models that were renamed). from asks for
// the bytes from there on.
func (c *client) do(ctx context.Context, method string, at *url.URL, from int64) (*http.Response, error) {
	for range maxRedirects {
		request, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("User-Agent", "arf")
		request.Header.Set("Accept-Encoding", "identity") // lengths are of the file
		if c.token != "" && at.Host == c.endpoint.Host && at.Scheme == c.endpoint.Scheme {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		if from > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		}
		response, err := c.http.Do(request)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, unreachable(err)
		}
		if response.Header.Get("Location") == "" {
			return response, nil
		}
		location, err := response.Location()
		if err != nil {
			response.Body.Close()
			return nil, fmt.Errorf("%s redirects to no address: %w", at.Host, err)
		}
		if method == http.MethodHead && location.Host != at.Host {
			return response, nil
		}
		response.Body.Close()
		at = location
	}
	return nil, fmt.Errorf("%s: over %d redirects", at, maxRedirects)
}

// unreachable leaves the address out, which may hold a signature.
func unreachable(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	return fmt.Errorf("%w: %w", errUnreachable, err)
}

// refusal says what an answer that isn't the file means, and what to do.
func (c *client) refusal(r reference, response *http.Response) error {
	page := c.endpoint.JoinPath(r.repo).String()
	code := response.Header.Get("X-Error-Code")
	switch status := response.StatusCode; {
	case code == "GatedRepo" || status == http.StatusForbidden:
		if c.token == "" {
			return fmt.Errorf("access is granted to those only who accept the licence: do so at %s, and set HF_TOKEN to a token of that account", page)
		}
		return fmt.Errorf("the account of your token has no access: accept the licence at %s with it", page)
	case status == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("no model %s for everyone to read: check its name at %s, and if it is private or gated, set HF_TOKEN to a token of an account that has access", r.repo, page)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("no model %s that your token (HF_TOKEN, or the file that `hf auth login` wrote) gives access to: check its name at %s, and the token", r.repo, page)
	case status == http.StatusNotFound && code == "RevisionNotFound":
		return fmt.Errorf("model %s has no revision %s; see %s/tree/main", r.repo, r.revision, page)
	case status == http.StatusNotFound && code == "EntryNotFound":
		return fmt.Errorf("model %s has no such file at revision %s", r.repo, r.revision)
	case status == http.StatusNotFound:
		return fmt.Errorf("no model %s at revision %s; check its name at %s", r.repo, r.revision, page)
	case status == http.StatusTooManyRequests || status >= 500:
		return fmt.Errorf("%w: it answers %s", errUnreachable, response.Status)
	default:
		return fmt.Errorf("the hub answers %s", response.Status)
	}
}

// retry tries again what fails because of the network or the hub, with pauses.
// try tells whether it came further, which gives it all its tries back.
func (c *client) retry(ctx context.Context, try func() (further bool, err error)) error {
	pause := c.pause
	for tries := 1; ; tries++ {
		further, err := try()
		if err == nil || !errors.Is(err, errUnreachable) {
			return err
		}
		if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
			return err // most likely no network at all
		}
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && tries >= 2 {
			return err // waiting for an address that doesn't answer takes long
		}
		if further {
			tries, pause = 1, c.pause
		}
		if tries == maxTries {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause *= 2
	}
}
