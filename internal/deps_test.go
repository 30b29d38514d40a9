package internal

import (
	_ "filippo.io/age"
	_ "github.com/hashicorp/go-multierror"
	_ "github.com/jackc/pgx/v5"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/pkg/sftp"
	_ "github.com/stretchr/testify/require"
	_ "golang.org/x/crypto/ssh"
	_ "golang.org/x/sys/unix"
)
