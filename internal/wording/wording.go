// Package wording says things to people in one way throughout the module: amounts of bytes, and several failures at once.
package wording

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Bytes writes a number of bytes in units of 1000, with three digits: "57 MB".
func Bytes(n int64) string {
	f, unit := float64(n), ""
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if f < 999.5 {
			break
		}
		f, unit = f/1000, next
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", f, unit)
}

// Failures joins independent failures into one error, in whose text each has a line behind "2 restores failed:". Each is found with [errors.As].
// It returns nil if there are none.
func Failures(what string, failures []error) error {
	all := &multierror.Error{Errors: failures, ErrorFormat: func(list []error) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%d %s failed:", len(list), what)
		for _, err := range list {
			b.WriteString("\n  " + strings.ReplaceAll(err.Error(), "\n", "\n    "))
		}
		return b.String()
	}}
	return all.ErrorOrNil()
}
