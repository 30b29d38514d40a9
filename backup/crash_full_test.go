//go:build crash

package backup_test

// crashStride of "make crash": every step.
const crashStride = 1
