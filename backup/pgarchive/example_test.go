package pgarchive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

func ExampleWalk() {
	file, err := os.Open("testdata/pg_dump-15.dump")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	s, err := pgarchive.Walk(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Header.Version, s.Header.Database, s.Header.Compression)
	for _, t := range s.Content.Tables {
		fmt.Printf("%s.%q: %d rows, %d bytes, %.8s…\n", t.Schema, t.Name, t.Rows, t.Bytes, t.SHA256)
	}
	fmt.Println(s.Content.LargeObjects.Count, "large objects")
	// Output:
	// 1.14 mini none
	// public."empty": 0 rows, 0 bytes, e3b0c442…
	// public."nocols": 2 rows, 2 bytes, 75a11da4…
	// shop."item \"x\" é\ny": 40 rows, 2101 bytes, 0273c925…
	// 3 large objects
}

// A dump is checked while it is copied to where it is kept.
func ExampleWalker() {
	dump, err := os.Open("testdata/pg_dump-15.dump") // or the standard output of pg_dump -Fc -Z0
	if err != nil {
		log.Fatal(err)
	}
	defer dump.Close()
	walker := pgarchive.NewWalker()
	defer walker.Abort()
	if _, err := io.Copy(io.Discard, io.TeeReader(dump, walker)); err != nil {
		log.Fatal(err)
	}
	s, err := walker.Close()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Content.Rows(), "rows")
	// Output: 42 rows
}

// pg_restore -l lists this archive and exits with 0.
func ExampleWalk_cut() {
	archive, err := os.ReadFile("testdata/pg_dump-15.dump")
	if err != nil {
		log.Fatal(err)
	}
	_, err = pgarchive.Walk(bytes.NewReader(archive[:len(archive)-100]))
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), err)
	// Output: true archive at byte 12318: data of large objects is cut (unexpected EOF); the dump did not finish or was not stored whole
}

func ExampleReadTOC() {
	file, err := os.Open("testdata/pg_dump-18.3.dump")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	header, entries, err := pgarchive.ReadTOC(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Version, len(entries), pgarchive.Roles(entries), pgarchive.Extensions(entries))
	// Output: 1.16 24 [postgres] []
}

// Restore a view without the comment on it and without anything else.
func ExampleList() {
	file, err := os.Open("testdata/pg_dump-15.dump")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	_, entries, err := pgarchive.ReadTOC(file)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(pgarchive.List(entries, func(e pgarchive.Entry) bool { return e.Desc == "SCHEMA" || e.Desc == "TABLE" && e.Namespace == "shop" }))
	// Output:
	// 6; 2615 16385 SCHEMA - shop postgres
	// 216; 1259 16387 TABLE shop item "x" é?y postgres
}
