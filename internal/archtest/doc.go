// Package archtest holds tests that keep the shape of this repository: who may import whom, what a library must not do, and which
// names are public. It has no code of its own.
//
// After a deliberate change of the exported API run
//
//	make api
//
// and commit testdata/api.txt with the change, so that the difference is read in review.
package archtest
