package cli

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	const revision = "32ac8e80c9535c0ed9a879665428378ce774e5fe"
	for _, c := range []struct {
		name, main, revision, modified, commit, want string
	}{
		{"a clone", "v0.0.0-20261124051108-32ac8e80c953", revision, "false", "32ac8e80c953", "32ac8e80c953"},
		{"a changed clone", "v0.0.0-20261124051108-32ac8e80c953+dirty", revision, "true", "32ac8e80c953+dirty", "32ac8e80c953+dirty"},
		{"a worktree", "(devel)", "", "", "32ac8e80c953+dirty", "32ac8e80c953+dirty"},
		{"go install arf@v1.2.0", "v1.2.0", "", "", "", "v1.2.0"},
		{"no git", "(devel)", "", "", "", "(devel)"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.main}}
		if c.revision != "" {
			info.Settings = []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: c.revision}, {Key: "vcs.modified", Value: c.modified}}
		}
		if got := versionOf(info, c.commit); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
