package cli

import "runtime/debug"

// commit is what `make build` says: in a worktree of git Go itself finds none.
var commit string

// version is the commit that the program was built from, with "+dirty" where
// files were changed since; without git the module's version.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info, commit)
}

func versionOf(info *debug.BuildInfo, commit string) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	switch {
	case revision == "" && commit != "":
		return commit
	case revision == "":
		return info.Main.Version
	}
	revision = revision[:min(12, len(revision))]
	if settings["vcs.modified"] == "true" {
		revision += "+dirty"
	}
	return revision
}
