//go:build !crash

package backup_test

// crashStride is the distance of the steps that a normal test run kills at.
const crashStride = 17
