import { expect, test } from 'bun:test'
import { isProblem } from '../../src/problem.ts'
import { type ClusterDatabase, clusterStatements } from '../../src/sink/cluster-ddl.ts'
import { loadMigrations, MIGRATIONS_DIRECTORY } from '../../src/sink/migration-files.ts'

const REPLICATED: ClusterDatabase = { cluster: { name: 'main', isReplicated: true }, database: 'penstock' }
const PLAIN: ClusterDatabase = { cluster: { name: 'main', isReplicated: false }, database: 'penstock' }

const TABLE = `CREATE TABLE IF NOT EXISTS counts
(
    type LowCardinality(String) COMMENT 'ENGINE = Memory, or (',
    n    SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY type
SETTINGS non_replicated_deduplication_window = 20000, fsync_after_insert = 1
COMMENT 'Counts; don\\'t sum'`

test('a table becomes a Replicated one on every node, with a path that names it, and a Distributed one above', () => {
  expect(clusterStatements(TABLE, REPLICATED)).toEqual([
    {
      place: 'shard',
      sql: `CREATE TABLE IF NOT EXISTS counts ON CLUSTER \`main\`
(
    type LowCardinality(String) COMMENT 'ENGINE = Memory, or (',
    n    SimpleAggregateFunction(sum, UInt64)
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/main/{shard}/penstock_shard/counts', '{replica}')
ORDER BY type
SETTINGS replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 604800, fsync_after_insert = 1
COMMENT 'Counts; don\\'t sum'`,
    },
    {
      place: 'above',
      sql: `CREATE TABLE IF NOT EXISTS counts ON CLUSTER \`main\` AS penstock_shard.counts
ENGINE = Distributed('main', 'penstock_shard', 'counts')
COMMENT 'Counts; don\\'t sum'`,
    },
  ])
})

test('without replicas a table stays as it is, and has a Distributed one above', () => {
  expect(clusterStatements(TABLE, PLAIN)).toEqual([
    { place: 'shard', sql: TABLE },
    {
      place: 'above',
      sql: `CREATE TABLE IF NOT EXISTS counts AS penstock_shard.counts
ENGINE = Distributed('main', 'penstock_shard', 'counts')
COMMENT 'Counts; don\\'t sum'`,
    },
  ])
})

test('a materialized view is on the shards only: it works on what arrives there', () => {
  const view =
    'CREATE MATERIALIZED VIEW IF NOT EXISTS counts_view TO counts AS SELECT type, count() AS n FROM events GROUP BY type'
  expect(clusterStatements(view, REPLICATED)).toEqual([
    {
      place: 'shard',
      sql: 'CREATE MATERIALIZED VIEW IF NOT EXISTS counts_view ON CLUSTER `main` TO counts AS SELECT type, count() AS n FROM events GROUP BY type',
    },
  ])
  expect(clusterStatements(view, PLAIN)).toEqual([{ place: 'shard', sql: view }])
})

test.each([
  ['CREATE VIEW IF NOT EXISTS sums', ' AS SELECT type, sum(n) FROM counts GROUP BY type'],
  ['CREATE OR REPLACE VIEW sums', ' AS\nSELECT 1'],
  ['CREATE VIEW IF NOT EXISTS sums', "\n(\n  n UInt64 COMMENT 'number'\n) AS\nSELECT 1 AS n"],
])('%s is in both databases, each over its own tables', (head, rest) => {
  expect(clusterStatements(head + rest, REPLICATED)).toEqual([
    { place: 'shard', sql: `${head} ON CLUSTER \`main\`${rest}` },
    { place: 'above', sql: `${head} ON CLUSTER \`main\`${rest}` },
  ])
})

test('what ALTER TABLE changes inside of a table it changes on the shards, columns above them too', () => {
  const inner = 'ADD INDEX IF NOT EXISTS f user_id TYPE bloom_filter(0.01) GRANULARITY 1'
  const columns = "ADD COLUMN IF NOT EXISTS a String COMMENT 'a, ADD COLUMN b', COMMENT COLUMN b 'c'"
  const setting = 'MODIFY SETTING non_replicated_deduplication_window = 5, merge_with_ttl_timeout = 1'
  expect(clusterStatements(`ALTER TABLE events ${inner}`, REPLICATED)).toEqual([
    { place: 'shard', sql: `ALTER TABLE events ON CLUSTER \`main\` ${inner}` },
  ])
  expect(clusterStatements(`ALTER TABLE events ${inner}, ${columns}`, PLAIN)).toEqual([
    { place: 'shard', sql: `ALTER TABLE events ${inner}, ${columns}` },
    { place: 'above', sql: `ALTER TABLE events ${columns}` },
  ])
  expect(clusterStatements(`ALTER TABLE events ${setting}`, REPLICATED)).toEqual([
    {
      place: 'shard',
      sql: 'ALTER TABLE events ON CLUSTER `main` MODIFY SETTING replicated_deduplication_window = 5, replicated_deduplication_window_seconds = 604800, merge_with_ttl_timeout = 1',
    },
  ])
})

test('what is dropped is dropped above first', () => {
  expect(clusterStatements('DROP VIEW IF EXISTS sums', REPLICATED)).toEqual([
    { place: 'above', sql: 'DROP VIEW IF EXISTS sums ON CLUSTER `main`' },
    { place: 'shard', sql: 'DROP VIEW IF EXISTS sums ON CLUSTER `main`' },
  ])
})

test.each([
  'INSERT INTO counts SELECT type, count() FROM events GROUP BY type',
  'CREATE TABLE counts (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1',
  'CREATE TABLE IF NOT EXISTS counts AS events',
  'CREATE TABLE IF NOT EXISTS counts (n UInt64) ORDER BY n',
  'CREATE TABLE IF NOT EXISTS counts (n UInt64) ENGINE = MergeTree ORDER BY n',
  'CREATE TABLE IF NOT EXISTS counts (n UInt64) ENGINE = ReplacingMergeTree(n) ORDER BY n SETTINGS non_replicated_deduplication_window = 1',
  "CREATE TABLE IF NOT EXISTS counts (n UInt64 DEFAULT 1 COMMENT 'ENGINE = MergeTree') ORDER BY n",
  'CREATE TABLE IF NOT EXISTS other.counts (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1',
  "ALTER TABLE counts_view COMMENT COLUMN a 'x'",
  'ALTER TABLE counts_view MODIFY QUERY SELECT a, b FROM events',
  'DROP VIEW IF EXISTS counts_view',
  'CREATE MATERIALIZED VIEW IF NOT EXISTS counter TO counts AS SELECT type FROM events',
  'CREATE VIEW IF NOT EXISTS counts_view AS SELECT type FROM events',
  'CREATE MATERIALIZED VIEW IF NOT EXISTS v ENGINE = MergeTree ORDER BY n AS SELECT 1 AS n',
  'ALTER TABLE events DELETE WHERE 1',
  'ALTER TABLE events ADD INDEX i n TYPE minmax, DELETE WHERE 1',
  'ALTER TABLE events ADD COLUMN a String, UPDATE a = 1 WHERE 1',
  'DROP TABLE events',
  'OPTIMIZE TABLE events',
])('a statement of another form is refused, not guessed at: %s', (statement) => {
  expect(clusterStatements(statement, REPLICATED)).toMatchObject({ problem: 'unknown_statement' })
  expect(clusterStatements(statement, PLAIN)).toMatchObject({ problem: 'unknown_statement' })
})

test('every statement of the migrations is known, and no plain table is left on replicas', () => {
  const migrations = loadMigrations(MIGRATIONS_DIRECTORY)
  if (isProblem(migrations)) throw new Error(migrations.message)
  for (const statement of migrations.flatMap(({ statements }) => statements)) {
    const replicated = clusterStatements(statement, REPLICATED)
    if (isProblem(replicated)) throw new Error(replicated.message)
    for (const { sql } of replicated) {
      expect(sql).toContain(' ON CLUSTER `main`')
      expect(sql).not.toMatch(/ENGINE = (?!Replicated|Distributed)|non_replicated/)
    }
    expect(isProblem(clusterStatements(statement, PLAIN))).toBe(false)
  }
})
