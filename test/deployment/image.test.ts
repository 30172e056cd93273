/** What the Dockerfile makes, without Docker: its lines are carried out, and the collector runs from there as it would in a container. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { version } from '../../package.json'
import { freePort } from '../../src/sink/engine-setup.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { waitUntil } from '../support/collector.ts'
import { type Container, hasNamespaces, newVolume, startContainer } from '../support/container.ts'
import { buildImage, type Image } from '../support/dockerfile.ts'
import { makeDraft } from '../support/event-drafts.ts'

const ROOT = join(import.meta.dir, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

const directory = mkdtempSync(join(tmpdir(), 'penstock-test-image-'))
const port = freePort()
const url = `http://127.0.0.1:${port}`
const environment: Record<string, string> = { PORT: String(port), FLUSH_INTERVAL_MS: '100' }

let image: Image
let clickhouse: TestClickHouse
let volume: string
let collector: Container

beforeAll(async () => {
  ;[image, clickhouse] = await Promise.all([buildImage(ROOT, directory), startTestClickHouse()])
  environment.CLICKHOUSE_URL = clickhouse.url
  environment.CLICKHOUSE_DATABASE = await clickhouse.createDatabase()
  volume = newVolume(image, join(directory, 'volume'))
  collector = startContainer(image, volume, environment)
  await waitUntil('the collector is ready', async () => (await fetch(`${url}/readyz`)).ok)
})

afterAll(async () => {
  await collector?.stop()
  await clickhouse?.stop()
  rmSync(directory, { recursive: true, force: true })
})

function runInImage(...command: string[]) {
  return startContainer(image, volume, environment, command).output
}

test('the image is made of the Bun that the tests run on, and of this version', () => {
  expect(image.base).toBe(`oven/bun:${Bun.version}-slim`)
  expect(read('.ci/run')).toContain(`bun@${Bun.version}`)
  expect(read('Dockerfile')).toContain(`org.opencontainers.image.version="${version}"`)
})

test('the build is given what it copies, and nothing else', () => {
  const given = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  expect(given).toEqual(['*', ...new Set(image.sources.map((source) => `!${source}`))])
})

test('the image holds the program and what it runs on, and no ClickHouse, no tests, no tools', () => {
  const app = join(image.root, 'app')
  expect(readdirSync(app).sort()).toEqual(['LICENSE', 'build', 'clickhouse', 'node_modules', 'package.json', 'src'])
  expect(readdirSync(join(app, 'clickhouse'))).toEqual(
    readdirSync(join(ROOT, 'clickhouse')).filter((name) => name.endsWith('.sql')),
  )
  for (const name of ['chdb', '@chdb', '@biomejs', 'assemblyscript', 'playwright-core', 'bun-types']) {
    expect({ name, isThere: existsSync(join(app, 'node_modules', name)) }).toEqual({ name, isThere: false })
  }
})

test('the scanner is in it, and is used', async () => {
  const report = await runInImage('bun', 'src/main.ts', 'doctor', '--json')
  expect(JSON.parse(report.stdout).checks).toContainEqual({ name: 'scanner', status: 'ok', message: 'compiled' })
})

test('the collector runs without privileges, and cannot change its program', async () => {
  expect(image.user).toEqual({ uid: 1000, gid: 1000 })
  expect(statSync(join(image.root, image.volume))).toMatchObject(image.user) // whom a new volume belongs to
  if (!hasNamespaces) return // the user and the file system are this machine's
  const write =
    "const why = (path) => { try { fs.writeFileSync(path, ''); return 'written' } catch (e) { return e.code } }"
  const places = ['/app/src/main.ts', '/var/lib/penstock/mine', '/tmp/mine', '/usr/mine']
  const { stdout } = await runInImage(
    'bun',
    '-p',
    `${write}; [process.getuid(), ...${JSON.stringify(places)}.map(why)].join()`,
  )
  expect(stdout.trim()).toBe('1000,EACCES,written,written,EACCES')
})

test('a key is made by the command line in the image, and what is sent with it is stored once', async () => {
  const words = ['provision', '--tenant', 'acme', '--workspace', 'web', '--tier', 'unlimited', '--json']
  const made = await runInImage('bun', 'src/main.ts', ...words)
  expect({ exitCode: made.exitCode, stderr: made.stderr }).toEqual({ exitCode: 0, stderr: '' })
  const headers = { 'api-key': JSON.parse(made.stdout).secret_key }
  const events = Array.from({ length: 50 }, () => makeDraft({ event_id: crypto.randomUUID() }))
  for (let copies = 0; copies < 2; copies++) {
    const sent = await fetch(`${url}/v1/events`, { method: 'POST', headers, body: JSON.stringify({ events }) })
    expect(sent.status).toBe(201)
  }
  const count = () => clickhouse.query(`SELECT count(), uniq(event_id) FROM ${environment.CLICKHOUSE_DATABASE}.events`)
  await waitUntil('the events can be queried', async () => (await count()) === '50\t50\n')
})

test('every path that the collector serves from files is there', async () => {
  for (const path of [
    '/docs',
    '/openapi.json',
    '/docs/swagger-ui.css',
    '/docs/swagger-ui-bundle.js',
    '/docs/favicon-32x32.png',
  ]) {
    const answer = await fetch(url + path)
    expect({ path, status: answer.status, isEmpty: (await answer.arrayBuffer()).byteLength === 0 }).toEqual({
      path,
      status: 200,
      isEmpty: false,
    })
  }
})

test('the health check says whether the process lives', async () => {
  expect((await runInImage(...image.healthcheck)).exitCode).toBe(0)
  const elsewhere = { ...environment, PORT: String(freePort()) }
  expect((await startContainer(image, volume, elsewhere, image.healthcheck).output).exitCode).toBe(1)
})

test('without CLICKHOUSE_URL it ends and says that the embedded ClickHouse is not there', async () => {
  const alone = { ...environment, PORT: String(freePort()), CLICKHOUSE_URL: '' }
  const other = newVolume(image, join(directory, 'other-volume'))
  const { exitCode, stderr } = await startContainer(image, other, alone).output
  expect({ exitCode, lines: stderr.trim().split('\n').length }).toEqual({ exitCode: 1, lines: 1 })
  expect(stderr).toContain('CLICKHOUSE_URL')
})

test('at the signal of `docker stop` it empties its log and ends, also as the first process of its container', async () => {
  expect(collector.isFirstProcess()).toBe(hasNamespaces)
  const { BUN_JSC_forceRAMSize } = collector.environment()
  expect(BUN_JSC_forceRAMSize).toBe(String(512 * 1024 * 1024)) // it has started itself again
  expect(await collector.stop()).toBe(0)
  expect(readdirSync(join(volume, 'log')).filter((name) => /\.(open|sealed)$/.test(name))).toEqual([])
})
