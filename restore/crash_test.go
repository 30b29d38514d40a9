package restore_test

func crashChild() bool { return false }
