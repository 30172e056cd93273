/** Troubles that pass: nothing is refused, lost or stored twice for them, and nothing is sent to a stranger. */
import { afterAll, afterEach, expect, test } from 'bun:test'
import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { endOf } from '../../src/sink/engine-run.ts'
import { ANOTHER_SERVER, insertNative } from '../../src/sink/insert.ts'
import { insertBody } from '../../src/sink/insert-body.ts'
import { startTestClickHouse } from '../support/clickhouse.ts'
import {
  blockBytes,
  blockOf,
  commitSegment,
  encoded,
  event,
  makeFlusher,
  openLog,
  preparedTarget,
  temporaryDirectory,
  until,
} from './sink-fixture.ts'

const server = await startTestClickHouse()
afterAll(() => server.stop())

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function newDirectory(): string {
  const { path, remove } = temporaryDirectory()
  cleanups.push(remove)
  return path
}

/** In front of ClickHouse: as if its memory limit were so near that bodies beyond a size cannot be read. */
function startShortOfMemory() {
  const state = { bodyBytesMax: 0 }
  const proxy = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    maxRequestBodySize: 2 ** 30,
    async fetch(request) {
      const { pathname, search } = new URL(request.url)
      const body = await request.arrayBuffer()
      if (body.byteLength > state.bodyBytesMax && search.includes('INSERT'))
        return new Response('Code: 241. DB::Exception: memory limit exceeded', {
          status: 500,
          headers: { 'x-clickhouse-exception-code': '241' },
        })
      const { method, headers } = request
      return fetch(`${server.url}${pathname}${search}`, { method, headers, body })
    },
  })
  cleanups.push(() => proxy.stop(true))
  return { url: `http://127.0.0.1:${proxy.port}`, state }
}

test('a memory limit that passes refuses nothing: the events may have been stored before', async () => {
  const target = await preparedTarget(server)
  const memory = startShortOfMemory()
  const directory = newDirectory()
  let log = await openLog(directory)
  const title = 'x'.repeat(700)
  const large = blockOf(Array.from({ length: 500 }, (_, index) => event({ path: `/large/${index}`, title })))
  const small = blockBytes('small', 100)
  await commitSegment(log, [encoded(large, 500), encoded(small, 100)])
  const segment = await log.takeSealed()
  if (segment === undefined) throw new Error('a segment was sealed')
  // Stored, but the collector ends before it knows.
  const { chunks, bytes } = await insertBody(log, segment, segment.records)
  expect(await insertNative(target, { body: chunks, bodyBytes: bytes, token: segment.token })).toEqual({
    outcome: 'inserted',
  })
  await log.dispose()

  log = await openLog(directory)
  cleanups.push(() => log.dispose())
  memory.state.bodyBytesMax = large.byteLength - 1 // the small record can be read, and a control of one row
  const flusher = makeFlusher(log, { ...target, url: memory.url }, directory)
  flusher.start()
  await until(() => flusher.stats().retries > 8)
  expect(flusher.stats()).toMatchObject({ deadLetters: 0, refusedRecords: 0, insertedSegments: 0 })
  memory.state.bodyBytesMax = Number.POSITIVE_INFINITY
  await until(() => flusher.stats().insertedSegments === 1)
  const sql = 'SELECT count(), uniqExact(path), (SELECT sum(events) FROM events_per_day) FROM events'
  expect((await server.query(sql, { database: target.database })).trim()).toBe('600\t600\t600')
  await flusher.stop(0)
})

test('another engine than ours, on its port, gets nothing', async () => {
  const target = await preparedTarget(server)
  const instance = (await server.query("SELECT getMacro('penstock_instance')")).trim()
  const body = [blockBytes('a', 3)]
  const request = { body, bodyBytes: body[0]?.byteLength ?? 0, token: 'one' }
  expect(await insertNative({ ...target, instance: crypto.randomUUID() }, request)).toMatchObject({
    outcome: 'failed',
    failure: { exceptionCode: undefined, code: ANOTHER_SERVER },
  })
  const count = async () => (await server.query('SELECT count() FROM events', { database: target.database })).trim()
  expect(await count()).toBe('0')
  expect(await insertNative({ ...target, instance }, request)).toEqual({ outcome: 'inserted' })
  expect(await count()).toBe('3')
})

test('bytes of a segment that change on the disk, and are right again later, are stored then', async () => {
  const target = await preparedTarget(server)
  const directory = newDirectory()
  let log = await openLog(directory)
  // Small blocks: they are read before they are sent, to be joined.
  await commitSegment(
    log,
    Array.from({ length: 5 }, (_, index) => encoded(blockBytes(`b${index}`, 2), 2)),
  )
  await log.dispose()
  log = await openLog(directory) // from the file, not from memory
  cleanups.push(() => log.dispose())
  const away = 'http://127.0.0.1:1'
  const held = { ...target, url: away }
  const flusher = makeFlusher(log, held, directory)
  flusher.start()
  await until(() => flusher.stats().lastError?.code === 'ECONNREFUSED')
  const name = readdirSync(join(directory, 'log')).find((file) => file.endsWith('.sealed')) ?? ''
  const file = openSync(join(directory, 'log', name), 'r+')
  cleanups.push(() => closeSync(file))
  const byte = new Uint8Array(1)
  readSync(file, byte, 0, 1, 300)
  const [right = 0] = byte
  writeSync(file, Uint8Array.of(right ^ 0xff), 0, 1, 300)
  await until(() => flusher.stats().lastError?.code === 'SEGMENT_CHANGED')
  expect(flusher.stats().segmentsHeld).toBe(1)
  writeSync(file, Uint8Array.of(right), 0, 1, 300)
  Object.assign(held, { url: server.url })
  await until(() => flusher.stats().insertedRows === 10)
  await flusher.stop(0)
})

test('a process that cannot be started is one that has ended', async () => {
  expect(await endOf(spawn('/none/such/program'))).toEqual({
    exitCode: null,
    signal: null,
    error: expect.stringContaining('ENOENT'),
  })
})
