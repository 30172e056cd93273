/** Accounts of a ClickHouse server, from `clickhouse/server` and docs/analysts.md: what each may see, and that it may do nothing else. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../../src/sink/cluster-ddl.ts'
import { controlBody, prepareDryRun } from '../../src/sink/dry-run.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { splitStatements } from '../../src/sink/sql-statements.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { runCli, runJson } from '../cli/run-cli.ts'
import { type Collector, newHome, startCollector } from '../support/collector.ts'
import { type ConfiguredServer, startConfiguredServer } from '../support/server.ts'

const text = readFileSync(join(import.meta.dir, '../../docs/analysts.md'), 'utf8')
const blocks = (language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, code]) => code ?? '')
const [acmeXml = '', clusterXml = ''] = blocks('xml')
const statements = blocks('sql').flatMap(splitStatements)

const sha256 = (value: string) => new Bun.CryptoHasher('sha256').update(value).digest('hex')

const operator = { user: 'default', password: '' }
const penstock = { user: 'penstock', password: 'of the collector' }
const analyst = { user: 'analyst', password: 'of analysts' }
const acme = { user: 'acme', password: 'of acme' }
const env = {
  PENSTOCK_CLICKHOUSE_PASSWORD: penstock.password,
  ANALYST_CLICKHOUSE_PASSWORD: analyst.password,
  ACME_CLICKHOUSE_PASSWORD_SHA256: sha256(acme.password),
}

const NO_RIGHT = /^Code: 497\./
const LIMIT_KEPT = /^Code: 452\./
const NOT_MODIFIED = /^Code: (164|452)\./

const SESSION = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'

/** Some of everything, so that every table has rows. */
const events = [
  { type: 'identify', properties: { plan: 'pro', 'a.b': 1 } },
  {
    type: 'pageview',
    properties: {},
    context: { page_url: 'https://shop.example/?utm_source=news', referrer: 'https://google.com/' },
  },
  { type: 'click', properties: { selector: '#buy', position: { x: 1, y: 2 } } },
  { type: 'Order Completed', properties: { total: 12.5 } },
].map((event) => ({ ...event, timestamp: new Date().toISOString(), session_id: SESSION, user_id: 'user' }))

async function serverWithTwoTenants() {
  const server = await startConfiguredServer({ env, users: { 'acme.xml': acmeXml } })
  const collector = await startCollector({
    env: { CLICKHOUSE_URL: server.url, CLICKHOUSE_USER: penstock.user, CLICKHOUSE_PASSWORD: penstock.password },
  })
  for (const tenant of ['acme', 'other']) {
    const names = ['--tenant', tenant, '--workspace', 'shop', '--tier', 'unlimited']
    const { secret_key } = await runJson(collector.home.env, 'provision', ...names)
    const response = await collector.postEvents(events, { 'api-key': secret_key })
    expect(await response.json()).toMatchObject({ accepted: events.length, rejected: 0 })
  }
  await collector.flushed()
  const stop = async () => {
    await collector.stop()
    collector.home.remove()
    await server.stop()
  }
  return { server, collector, stop }
}

/** Tables and views of the collector, with whether they say whose their rows are. */
async function tablesOf(server: ConfiguredServer) {
  const answer = await server.ask(
    operator,
    `SELECT database || '.' || table AS of_table, max(name = 'tenant_id') FROM system.columns
    WHERE database IN ('penstock', 'penstock_shard') GROUP BY database, table ORDER BY of_table`,
  )
  return answer.split('\n').map((line) => {
    const [name = '', isOfTenants] = line.split('\t')
    return { name, isOfTenants: isOfTenants === '1' }
  })
}

const tenantsIn = (table: string) => `SELECT arraySort(groupUniqArray(toString(tenant_id))) FROM ${table}`

async function expectOwnRowsOnly(server: ConfiguredServer, parameters?: Record<string, string>) {
  const tables = await tablesOf(server)
  expect(tables.length).toBeGreaterThan(12)
  for (const { name, isOfTenants } of tables) {
    const seen = await server.ask(acme, isOfTenants ? tenantsIn(name) : `SELECT * FROM ${name}`, parameters)
    if (isOfTenants) {
      const all = await server.ask(operator, tenantsIn(name), parameters)
      expect([name, all, seen]).toEqual([name, "['acme','other']", "['acme']"])
    } else {
      expect([name, seen]).toEqual([name, expect.stringMatching(/^Code: 47\./)])
    }
  }
}

describe('the accounts of a server', () => {
  let server: ConfiguredServer
  let collector: Collector
  let stop: () => Promise<void>

  beforeAll(async () => {
    ;({ server, collector, stop } = await serverWithTwoTenants())
  })

  afterAll(() => stop?.())

  const expectRefused = async (account: typeof analyst, list: readonly string[], code = NO_RIGHT) => {
    for (const sql of list) {
      const answer = await server.ask(account, sql)
      expect(`${sql}: ${answer}`).toMatch(new RegExp(code.source.replace('^', ': ')))
    }
  }

  test('want the passwords of the environment', async () => {
    for (const { user } of [penstock, analyst, acme]) {
      expect(await server.ask({ user, password: '' }, 'SELECT 1')).toStartWith('Code: 516.')
      expect(await server.ask({ user, password: 'guessed' }, 'SELECT 1')).toStartWith('Code: 516.')
    }
  })

  test('have an empty password where a variable is not set, which the page warns of; by hash the server does not start', async () => {
    const { ANALYST_CLICKHOUSE_PASSWORD: _, ...others } = env
    const careless = await startConfiguredServer({ env: others })
    expect(await careless.ask({ user: 'analyst', password: '' }, 'SELECT currentUser()')).toBe('analyst')
    await careless.stop()
    const { ACME_CLICKHOUSE_PASSWORD_SHA256: __, ...withoutHash } = env
    const started = startConfiguredServer({ env: withoutHash, users: { 'acme.xml': acmeXml } })
    await expect(started).rejects.toThrow("parsing user 'acme'")
  })

  test('leave the one without password to the server itself', async () => {
    const hosts = await server.ask(operator, 'SELECT name, host_names, host_ip FROM system.users ORDER BY name')
    const anywhere = ['acme', 'analyst', 'penstock'].map((name) => `${name}\t[]\t['::/0']`)
    expect(hosts.split('\n').sort()).toEqual([...anywhere, "default\t['localhost']\t[]"].sort())
  })

  test('read keys with dots as they were sent', async () => {
    const sql = `SELECT properties FROM penstock.events WHERE tenant_id = 'acme' AND type = 'identify'`
    for (const account of [operator, penstock, analyst, acme])
      expect(JSON.parse(await server.ask(account, sql))).toEqual({ plan: 'pro', 'a.b': 1 })
  })

  describe('penstock', () => {
    test('is all that the collector needs', async () => {
      const { exitCode, stdout } = await runCli(['doctor'], collector.home.env)
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.not.stringContaining('failed') })
      const target = { url: server.url, ...penstock, database: 'penstock' }
      const dryRun = await prepareDryRun(target)
      if (typeof dryRun !== 'function') throw new Error(dryRun.failure.message)
      expect(await dryRun(controlBody(0))).toBeUndefined()
      const journey = await fetch(`${collector.url}/users/nobody/journey`, { headers: { 'api-key': collector.key } })
      expect(journey.status).toBe(200)
    })

    test('removes people', async () => {
      const leaver = { ...events[0], user_id: 'leaver', session_id: '0190a1b2-c3d4-7e5f-8a9b-000000000000' }
      const keyArgs = ['keys', 'create', '--tenant', 'acme', '--workspace', 'shop']
      const { key } = await runJson(collector.home.env, ...keyArgs)
      expect((await collector.postEvents([leaver], { 'api-key': key })).status).toBe(201)
      await collector.flushed()
      const count = `SELECT count() FROM penstock.events WHERE user_id = 'leaver'`
      expect(await server.ask(penstock, count)).toBe('1')
      const args = ['erase', '--tenant', 'acme', '--workspace', 'shop', '--user', 'leaver', '--yes', '--json']
      const { exitCode, stderr } = await runCli(args, collector.home.env)
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      expect(await server.ask(penstock, count)).toBe('0')
      const left = `SELECT count() FROM system.tables WHERE database = 'penstock' AND name LIKE 'erasing%'`
      expect(await server.ask(operator, left)).toBe('0')
      expect(await server.ask(penstock, `KILL MUTATION WHERE database = 'penstock'`)).not.toContain('Code:')
    })

    test('has no right to anything else', async () => {
      await expectRefused(penstock, [
        'DROP TABLE penstock.events',
        'CREATE DATABASE elsewhere',
        'CREATE TABLE default.elsewhere (a Int8) ENGINE = MergeTree ORDER BY a',
        `CREATE TABLE penstock.files (a String) ENGINE = File(CSV, '/etc/passwd')`,
        `CREATE TABLE penstock.others AS penstock.events ENGINE = Distributed('default', 'penstock', 'events')`,
        'CREATE VIEW penstock.users_of_all DEFINER = default SQL SECURITY DEFINER AS SELECT * FROM system.users',
        'CREATE USER intruder',
        'GRANT SELECT ON penstock.* TO analyst',
        'SELECT * FROM system.users',
        'SELECT * FROM system.processes',
        `SELECT * FROM file('/etc/passwd', LineAsString)`,
        `SELECT * FROM url('http://127.0.0.1:1/', LineAsString)`,
        `SELECT * FROM remote('127.0.0.1:1', 'system.users')`,
        'SYSTEM DROP MARK CACHE',
      ])
    })
  })

  describe('analyst', () => {
    test('reads every table and view, of all tenants', async () => {
      for (const { name, isOfTenants } of await tablesOf(server)) {
        if (isOfTenants) expect([name, await server.ask(analyst, tenantsIn(name))]).toEqual([name, "['acme','other']"])
      }
    })

    test('can run every recipe of the cookbook', async () => {
      const cookbook = readFileSync(join(import.meta.dir, '../../docs/sql.md'), 'utf8').replaceAll("'demo'", "'acme'")
      const recipes = [...cookbook.matchAll(/^```sql\n([\s\S]*?)^```/gm)].map(([, sql]) => sql ?? '')
      expect(recipes.length).toBeGreaterThan(35)
      for (const sql of recipes) {
        const answer = await server.ask(analyst, sql, { database: 'penstock', param_user: 'user' })
        expect(`${sql}\n${answer}`).not.toMatch(/^Code: \d+\./m)
      }
    })

    test('finds the names of tables where tools look for them', async () => {
      for (const sql of [
        `SELECT name FROM system.tables WHERE database = 'penstock' AND name = 'events'`,
        `SELECT table_name FROM information_schema.tables WHERE table_schema = 'penstock' AND table_name = 'events'`,
      ])
        expect(await server.ask(analyst, sql)).toBe('events')
    })

    test('connects as the page says', async () => {
      const [curl = ''] = blocks('sh')
      const own = { PATH: process.env.PATH ?? '', CLICKHOUSE: server.url, ...env }
      const { stdout, stderr } = Bun.spawnSync(['bash', '-euo', 'pipefail', '-c', curl.replace("'demo'", "'acme'")], {
        env: own,
      })
      expect(stdout.toString()).toContain('Order Completed')
      expect(stderr.toString()).not.toContain('curl:')
    })

    const writing = [
      `INSERT INTO penstock.events (tenant_id) VALUES ('acme')`,
      `INSERT INTO penstock.events_per_day (tenant_id) VALUES ('acme')`,
      `ALTER TABLE penstock.events DELETE WHERE 1`,
      `ALTER TABLE penstock.events UPDATE user_id = '' WHERE 1`,
      'DELETE FROM penstock.events WHERE 1',
      'ALTER TABLE penstock.events ADD COLUMN a String',
      'TRUNCATE TABLE penstock.events',
      'DROP TABLE penstock.events',
      'DROP DATABASE penstock',
      'RENAME TABLE penstock.events TO penstock.gone',
      'OPTIMIZE TABLE penstock.events',
      'CREATE TABLE penstock.own (a Int8) ENGINE = Memory',
      'CREATE TEMPORARY TABLE own (a Int8)',
      'CREATE VIEW penstock.own AS SELECT 1',
      'CREATE USER intruder',
      `ALTER USER analyst IDENTIFIED BY ''`,
      'GRANT SELECT ON *.* TO analyst',
      'CREATE ROW POLICY all ON penstock.* USING 1 TO ALL',
      `BACKUP TABLE penstock.events TO Disk('backups', 'own')`,
      'SYSTEM SHUTDOWN',
      'SYSTEM FLUSH LOGS',
      'KILL QUERY WHERE 1 SYNC',
    ]
    const looking = [
      'SELECT * FROM system.users',
      'SELECT * FROM system.processes',
      'SELECT * FROM system.row_policies',
      'SELECT * FROM system.named_collections',
      'SHOW CREATE USER analyst',
      `SELECT * FROM file('/etc/passwd', LineAsString)`,
      `SELECT * FROM url('http://127.0.0.1:1/', LineAsString)`,
      `SELECT * FROM remote('127.0.0.1:9000', 'penstock.events')`,
      `SELECT * FROM executable('id', TSV, 'a String')`,
      `SELECT 1 INTO OUTFILE '/tmp/penstock-analyst'`,
    ]

    test('can neither write nor look elsewhere, nor can a tenant’s account', async () => {
      for (const account of [analyst, acme]) await expectRefused(account, writing, NO_RIGHT)
      for (const account of [analyst, acme]) await expectRefused(account, looking, /^Code: (497|358)\./)
      expect(await server.ask(operator, 'SELECT count() FROM penstock.events')).toBe(String(2 * events.length))
    })

    test('has limits that it cannot raise, nor can a tenant’s account', async () => {
      for (const account of [analyst, acme]) {
        await expectRefused(
          account,
          [
            'max_execution_time = 301',
            'max_execution_time = 0',
            'max_result_bytes = 0',
            'max_result_bytes = 1073741825',
            'max_memory_usage = 0',
            'max_memory_usage = 4294967297',
            'max_memory_usage_for_user = 0',
            'max_concurrent_queries_for_user = 0',
          ].map((setting) => `SELECT 1 SETTINGS ${setting}`),
          LIMIT_KEPT,
        )
        await expectRefused(account, ['SELECT 1 SETTINGS readonly = 0', 'SET readonly = 0'], NOT_MODIFIED)
        const asked = `SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')`
        expect(await server.ask(account, asked)).toBe('60\t4294967296')
        expect(await server.ask(account, `${asked} SETTINGS max_execution_time = 300`)).toBe('300\t4294967296')
        expect(await server.ask(account, 'SELECT number FROM numbers(1000001) FORMAT Null')).toStartWith('Code: 396.')
        expect(await server.ask(account, `SELECT getSetting('max_result_bytes')`)).toBe(String(2 ** 30))
        const quota = 'SELECT quota_name, max_queries, max_execution_time FROM system.quota_usage'
        expect(await server.ask(account, quota)).toBe('analyst\t100000\t14400')
      }
    })
  })

  describe('a tenant’s', () => {
    test('sees its own rows only, in every table and view', async () => {
      await expectOwnRowsOnly(server)
    })

    test('sees no others by ways around: functions over tables, conditions that throw, counts', async () => {
      const own = [
        `SELECT DISTINCT tenant_id FROM merge('penstock', '.*events.*')`,
        'SELECT DISTINCT tenant_id FROM view(SELECT * FROM penstock.events)',
        `SELECT DISTINCT tenant_id FROM penstock.events PREWHERE throwIf(tenant_id = 'other') = 0`,
        `SELECT DISTINCT tenant_id FROM penstock.events WHERE throwIf(tenant_id = 'other') = 0`,
        `SELECT DISTINCT tenant_id FROM penstock.events SETTINGS additional_table_filters = {'penstock.events': '1'}`,
      ]
      for (const sql of own) expect(`${sql}: ${await server.ask(acme, sql)}`).toBe(`${sql}: acme`)
      expect(await server.ask(acme, 'SELECT count() FROM penstock.events')).toBe(String(events.length))
      expect(await server.ask(acme, `SELECT count() FROM penstock.events WHERE tenant_id = 'other'`)).toBe('0')
    })

    test('does not read primary keys of others', async () => {
      const keys = `SELECT arraySort(groupUniqArray(toString(tenant_id))) FROM mergeTreeIndex('penstock', 'events')`
      expect(await server.ask(operator, keys)).toContain('other')
      expect(await server.ask(acme, keys)).toBe('[]')
      const functions = await server.ask(
        operator,
        `SELECT arraySort(groupArray(name)) FROM system.table_functions WHERE name ILIKE 'mergeTree%'`,
      )
      const refused = await server.ask(
        operator,
        `SELECT arraySort(groupArray(table)) FROM system.row_policies
        WHERE database = '_table_function' AND select_filter = '0' AND has(apply_to_list, 'acme')`,
      )
      expect(refused).toBe(functions)
    })

    test('reads with the primary key: the policy prunes', async () => {
      const plan = await server.ask(
        acme,
        "EXPLAIN indexes = 1 SELECT count() FROM penstock.events WHERE type = 'click' FORMAT TSVRaw",
      )
      expect(plan).toContain("tenant_id in ['acme', 'acme']")
    })
  })

  describe('in SQL', () => {
    /** As the server writes it. */
    const formatted = async (sql: string) =>
      server.ask(operator, `SELECT formatQuerySingleLine({sql:String}) FORMAT TSVRaw`, {
        param_sql: sql.replaceAll('\n', ' '),
      })
    const one = (words: string) => {
      const [found = ''] = statements.filter((sql) => sql.includes(words))
      return found
    }

    test('are statements that the server reads', async () => {
      expect(statements.length).toBe(9)
      for (const sql of statements) expect(await formatted(sql)).toStartWith(sql.split(' ')[0] ?? '')
    })

    test('say the same as the files', async () => {
      const show = async (what: string) => server.ask(operator, `SHOW CREATE ${what} FORMAT TSVRaw`)
      const profile = await formatted(one('SETTINGS PROFILE IF NOT EXISTS'))
      const inherited = 'json_type_escape_dots_in_keys = true'
      expect(await show('SETTINGS PROFILE default')).toEndWith(inherited)
      const fromFile = settingsOf(await show('SETTINGS PROFILE analyst')).filter((it) => !it.includes('INHERIT'))
      expect(settingsOf(profile)).toEqual([inherited, ...fromFile].sort())

      const quota = await formatted(one('QUOTA'))
      const ofQuota = / FOR INTERVAL .*(?= TO )/
      expect(ofQuota.exec(quota)?.[0]).toBe(ofQuota.exec(await show('QUOTA analyst'))?.[0] ?? 'no quota')

      const policies = async (on: string) => server.ask(operator, `SHOW CREATE ROW POLICIES ON ${on} FORMAT TSVRaw`)
      const both = [await policies('penstock.*'), await policies('penstock_shard.*')].map((it) => it.split(' ON ')[1])
      const [, said = ''] = (await formatted(one('POLICY acme'))).split(' ON ')
      expect(said).toBe(both.join().replace(" FOR SELECT USING tenant_id = 'acme' TO acme", '').replace(',', ', '))
      const list = [...one('_table_function').matchAll(/_table_function\.(\w+)/g)].map(([, name]) => name)
      expect(list).toEqual([...acmeXml.matchAll(/<table name="(\w+)"><filter>0/g)].map(([, name]) => name))
      const grants = await server.ask(operator, 'SHOW GRANTS FOR acme FORMAT TSVRaw')
      expect(await formatted(one('GRANT SELECT'))).toBe(
        `GRANT ${grants
          .replaceAll(/GRANT | TO acme/g, '')
          .split('\n')
          .join(', ')} TO tenant`,
      )
    })
  })
})

/** The settings of a profile, sorted, spelled as the server does with limits that come from files. */
function settingsOf(profile: string): string[] {
  const [, list = ''] = / SETTINGS ((?!PROFILE).*?)(?: TO .*)?$/.exec(profile) ?? []
  return list
    .split(', ')
    .map((setting) => setting.replaceAll('.', '').replace(/ = 1$/, ' = true'))
    .sort()
}

/** A server with tables, and rows of two tenants in all of them, without a collector. */
async function serverWithRows(settings: (tcpPort: number) => string, cluster?: Cluster) {
  // The engine itself is `default` and knows no password.
  const penstockOnly = clusterXml.replace(/<default>[\s\S]*<\/default>/, '')
  const users = { 'acme.xml': acmeXml, ...(cluster && { 'penstock-cluster.xml': penstockOnly }) }
  const server = await startConfiguredServer({ env, users, settings })
  const clickhouse = { url: server.url, ...penstock, database: 'penstock', ...(cluster && { cluster }) }
  const outcome = await migrate({ clickhouse, logger: createLogger({ level: 'silent' }) })
  expect(outcome).toEqual({ applied: expect.anything() })
  const time = `now64(3), now64(3), 's', 'user', 'https://shop.example/', '/', '{"plan":"pro"}'`
  const insert = `INSERT INTO ${cluster ? 'penstock_shard' : 'penstock'}.events
    (tenant_id, type, occurred_at, received_at, session_id, user_id, url, path, properties)
    SELECT tenant, type, ${time} FROM (SELECT arrayJoin(['acme', 'other']) AS tenant, arrayJoin(['identify', 'pageview']) AS type)`
  expect(await server.ask(penstock, insert)).toBe('')
  return server
}

describe('a tenant’s account sees its own rows only', () => {
  test('where views run with the rights of whoever made them', async () => {
    const setting = 'ignore_empty_sql_security_in_create_view_query'
    const server = await serverWithRows(() => `<${setting}>0</${setting}>`)
    const definers = `SELECT countIf(create_table_query LIKE '%DEFINER = penstock SQL SECURITY DEFINER%') = countIf(engine = 'MaterializedView'),
      countIf(create_table_query LIKE '%SQL SECURITY INVOKER%') = countIf(engine = 'View')
      FROM system.tables WHERE database = 'penstock' AND engine LIKE '%View'`
    expect(await server.ask(operator, definers)).toBe('1\t1')
    await expectOwnRowsOnly(server)
    await server.stop()
  })

  test('on a cluster, in the tables of a node and over all of them', async () => {
    const remoteServers = (tcpPort: number) => `<remote_servers><shop>
      <secret>of the cluster</secret>
      <shard><replica><host>127.0.0.1</host><port>${tcpPort}</port></replica></shard>
    </shop></remote_servers>`
    const server = await serverWithRows(remoteServers, { name: 'shop', isReplicated: false })
    await expectOwnRowsOnly(server)
    await expectOwnRowsOnly(server, { prefer_localhost_replica: '0' }) // over the network, as from another node
    expect(await server.ask(analyst, tenantsIn('penstock.events'))).toBe("['acme','other']")

    const home = newHome({
      ...{ CLICKHOUSE_URL: server.url, CLICKHOUSE_USER: penstock.user, CLICKHOUSE_PASSWORD: penstock.password },
      ...{ CLICKHOUSE_CLUSTER: 'shop', CLICKHOUSE_CLUSTER_REPLICATED: 'false' },
    })
    const { stdout } = await runCli(['doctor'], home.env)
    home.remove()
    expect(stdout).toContain('1 shards, all answer')
    await server.stop()
  })
})
