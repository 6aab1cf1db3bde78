package remote

import (
	"net/url"
	"regexp"
	"strings"
)

// Redacted is a URL without password and query, which may hold a signature, for messages.
func Redacted(name string) string {
	u, err := url.Parse(name)
	if err != nil {
		name, _, _ = strings.Cut(name, "?")
		return name
	}
	u.RawQuery = ""
	return u.Redacted()
}

var (
	urls     = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>|]+`)
	userinfo = regexp.MustCompile(`://[^/?#]*@`)
)

// RedactedText is a text, such as a config, a command or paths joined by ::,
// whose URLs have neither user nor query: for what is published. Patterns in
// URLs stay as they are.
func RedactedText(text string) string {
	return urls.ReplaceAllStringFunc(text, func(u string) string {
		parts := strings.Split(u, "::")
		for i, p := range parts {
			p, _, _ = strings.Cut(p, "?")
			parts[i] = userinfo.ReplaceAllString(p, "://")
		}
		return strings.Join(parts, "::")
	})
}
