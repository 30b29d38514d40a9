package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

//go:embed erp.sql
var erp string

// template is a database that every pupil's is cloned from. It follows the code, but is a template and must not be taken.
const template = "SpecibikeModele"

// decoys do not follow the code.
var decoys = []string{"Comptabilite", "specibike", "SpecimenDupont", "ArchiveSpecibikeDupont", "SpecibikeStmg1Groupe2 copie"}

type school struct {
	config *pgx.ConnConfig
	names  []string
}

// buildSchool makes the template, 20 clones of it, and the decoys.
func buildSchool(ctx context.Context, dsn string, scale float64) (*school, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	s := &school{config: config}
	for _, pupil := range []string{"Dupont", "Martin", "Bernard", "Petit", "Durand", "Leroy", "Moreau", "Simon", "Laurent", "Lefebvre"} {
		s.names = append(s.names, "Specibike"+pupil)
	}
	for class := 1; class <= 2; class++ {
		s.names = append(s.names, fmt.Sprintf("SpecibikeStmg%d", class))
		for group := 1; group <= 4; group++ {
			s.names = append(s.names, fmt.Sprintf("SpecibikeStmg%dGroupe%d", class, group))
		}
	}
	if err := s.exec(ctx, "", "CREATE DATABASE "+ident(template)); err != nil {
		return nil, err
	}
	if err := s.exec(ctx, template, fmt.Sprintf("SET erp.scale = '%g';\n%s", scale, erp)); err != nil {
		return nil, err
	}
	for _, name := range s.names {
		if err := s.exec(ctx, "", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", ident(name), ident(template))); err != nil {
			return nil, err
		}
	}
	for _, name := range decoys {
		if err := s.exec(ctx, "", "CREATE DATABASE "+ident(name)); err != nil {
			return nil, err
		}
	}
	return s, s.exec(ctx, "", "ALTER DATABASE "+ident(template)+" IS_TEMPLATE true")
}

// day changes a few rows in every database, others in each.
func (s *school) day(ctx context.Context) error {
	for i, name := range s.names {
		err := s.exec(ctx, name, fmt.Sprintf(`
			UPDATE account_line SET quantity = quantity + 1 WHERE id %% 97 = %[1]d;
			UPDATE product SET price = price * 1.02 WHERE id %% 50 = %[1]d;
			DELETE FROM sale_line WHERE id %% 211 = %[1]d;
			INSERT INTO crm_message (code, label) SELECT 'NEW/' || i, 'nuit %[1]d' FROM generate_series(1, 5) i`, i))
		if err != nil {
			return err
		}
	}
	return nil
}

// breakOne removes the file of a table behind the server's back, as a failing disk would.
func (s *school) breakOne(ctx context.Context) (name string, err error) {
	name = s.names[len(s.names)-1]
	conn, err := s.connect(ctx, name)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var file string
	err = conn.QueryRow(ctx, `SELECT current_setting('data_directory') || '/' || pg_relation_filepath('account_line')`).Scan(&file)
	if err != nil {
		return "", err
	}
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil { // or the server would miss the file when it writes back
		return "", err
	}
	return name, os.Remove(filepath.FromSlash(file))
}

func (s *school) invoices(ctx context.Context, name string) (n int, err error) {
	conn, err := s.connect(ctx, name)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	return n, conn.QueryRow(ctx, "SELECT count(*) FROM account_line").Scan(&n)
}

func (s *school) deleteInvoices(ctx context.Context, name string) error {
	return s.exec(ctx, name, "DELETE FROM account_line")
}

func (s *school) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config := s.config.Copy()
	if database != "" {
		config.Database = database
	}
	return pgx.ConnectConfig(ctx, config)
}

// exec runs statements, several in one go.
func (s *school) exec(ctx context.Context, database, sql string) error {
	conn, err := s.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("in database %q: %w", database, err)
	}
	return nil
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
