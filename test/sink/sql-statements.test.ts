import { expect, test } from 'bun:test'
import { splitStatements } from '../../src/sink/sql-statements.ts'

test('statements end at semicolons, the last one may do without', () => {
  expect(splitStatements('SELECT 1;\nSELECT 2;; \n ;SELECT 3')).toEqual(['SELECT 1', 'SELECT 2', 'SELECT 3'])
})

test('a semicolon in a string, a quoted name or a heredoc ends nothing', () => {
  const statements = ["SELECT 'a;b''c;\\';d'", 'SELECT "x;y", `z;\\`;`', 'SELECT $doc$ it;s ; $doc$']
  expect(splitStatements(statements.join(';\n'))).toEqual(statements)
})

test('comments are left out, whatever they hold', () => {
  const sql = "-- first; it's\nSELECT 1 -- one; 'two\n/* three; ' */ + 2; # four;\n--end;"
  expect(splitStatements(sql).map((statement) => statement.replaceAll(/\s+/g, ' '))).toEqual(['SELECT 1 + 2'])
})

test('what looks like a comment in a string stays', () => {
  expect(splitStatements("SELECT '-- no; /* comment */'")).toEqual(["SELECT '-- no; /* comment */'"])
})

test('a file of comments has no statements', () => {
  expect(splitStatements('-- nothing;\n/* here; */')).toEqual([])
})
