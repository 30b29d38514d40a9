package atomicfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/runbook-go/runbook/internal/atomicfile"
)

func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "state.json")
	if err := atomicfile.WriteFile(name, []byte(`{"night":2}`), 0); err != nil {
		panic(err)
	}
	data, _ := os.ReadFile(name)
	fmt.Println(string(data))
	// Output: {"night":2}
}
