package runbook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// TargetMux opens targets by URL, for programs that are driven by configuration. The zero value is ready to use. Register
// everything first; after that it is safe for concurrent use.
type TargetMux struct {
	schemes map[string]muxEntry
}

type muxEntry struct {
	open func(context.Context, *url.URL) (Target, error)
	keys []string
}

// Handle registers open for a scheme, such as "sftp". The query keys that open understands are named; [TargetMux.Open] refuses
// any other. A scheme registered twice panics, as it is an error of the program.
func (m *TargetMux) Handle(scheme string, open func(context.Context, *url.URL) (Target, error), queryKeys ...string) {
	if _, twice := m.schemes[scheme]; twice {
		panic(fmt.Sprintf("runbook: scheme %q is registered twice", scheme))
	}
	if m.schemes == nil {
		m.schemes = make(map[string]muxEntry)
	}
	m.schemes[scheme] = muxEntry{open, queryKeys}
}

// Open opens the target that rawURL names. An unknown scheme gives an error that lists the known ones; an unknown or repeated query
// key, a fragment and a password in the URL are errors. A "@" in a path or query must be written "%40", as it is what an unescaped
// password leaves behind. No error of Open's own repeats anything but the scheme, user, host and path of a URL that passed these checks.
func (m *TargetMux) Open(ctx context.Context, rawURL string) (Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// Its error repeats pieces of the URL, among which a malformed password could stand.
		return nil, errors.New("open target: the URL does not parse; write scheme://user@host/path?key=value, and special characters as %xx")
	}
	ats := 0
	if u.User != nil {
		ats = 1
	}
	if strings.Count(rawURL, "@") > ats {
		return nil, errors.New("open target: the URL has a @ outside user@host; write it as %40, and never a password")
	}
	if _, has := u.User.Password(); has {
		return nil, fmt.Errorf("open target on host %q: a URL must not hold a password; use a key file or an agent", u.Host)
	}
	if u.Fragment != "" {
		return nil, errors.New("open target: the URL has a #; write it as %23")
	}
	shown := *u
	shown.RawQuery = ""
	name := shown.String()
	entry, ok := m.schemes[u.Scheme]
	if !ok {
		known := slices.Sorted(maps.Keys(m.schemes))
		return nil, fmt.Errorf("open target %s: unknown scheme %q; known: %s", name, u.Scheme, strings.Join(known, ", "))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("open target %s: the URL's query does not parse; write special characters as %%xx", name)
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(entry.keys, key) {
			return nil, fmt.Errorf("open target %s: unknown query key %q; known: %s", name, key, strings.Join(entry.keys, ", "))
		}
		if len(query[key]) > 1 {
			return nil, fmt.Errorf("open target %s: query key %q is given %d times", name, key, len(query[key]))
		}
	}
	t, err := entry.open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("open target %s: %w", name, err)
	}
	return t, nil
}
