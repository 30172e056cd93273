/** Bodies of inserts: the same rows whether blocks are joined or not, and the same bytes at every try. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { InsertForm, SealedSegment } from '../../src/log/event-log.ts'
import type { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { type InsertTarget, insertNative } from '../../src/sink/insert.ts'
import { type InsertBody, insertBody } from '../../src/sink/insert-body.ts'
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import {
  blockOf,
  commitSegment,
  encoded,
  event,
  openLog,
  preparedTarget,
  settled,
  temporaryDirectory,
} from './sink-fixture.ts'

const directory = temporaryDirectory()
let clickhouse: TestClickHouse

beforeAll(async () => {
  clickhouse = await startTestClickHouse()
})

afterAll(async () => {
  await clickhouse.stop()
  directory.remove()
})

/** A log with one segment of so many blocks, which has to be read from its file when it is not to come from the ring. */
async function segmentOf(
  name: string,
  blocks: readonly Uint8Array[],
  rows: number,
  ringBytes = 64 * 1024 * 1024,
): Promise<{ log: WriteAheadLog; segment: SealedSegment }> {
  const log = await openLog(`${directory.path}/${name}`, { ringBytes })
  await commitSegment(
    log,
    blocks.map((bytes) => encoded(bytes, rows)),
  )
  const segment = await log.takeSealed()
  if (segment === undefined) throw new Error('no segment')
  return { log, segment }
}

function smallBlocks(count: number, rows = 3, title = ''): Uint8Array[] {
  return Array.from({ length: count }, (_, block) =>
    blockOf(
      Array.from({ length: rows }, (_, row) =>
        event({
          eventId: crypto.randomUUID(),
          type: `type ${(block * rows + row) % 40}`,
          userId: row === 1 ? '' : `user ${block}`,
          sessionId: crypto.randomUUID(),
          path: `/${block}/${row}`,
          title,
          properties: row === 0 ? {} : { block, row: [row, null], nested: { price: block / 3 }, list: [{ a: block }] },
        }),
      ),
    ),
  )
}

async function gathered(chunks: InsertBody['chunks']): Promise<{ bytes: Buffer; largest: number }> {
  const copies: Buffer[] = []
  for await (const chunk of chunks) copies.push(Buffer.from(chunk))
  return { bytes: Buffer.concat(copies), largest: Math.max(0, ...copies.map(({ length }) => length)) }
}

/** Inserts a segment as if it had been made in this form. */
async function insert(target: InsertTarget, log: WriteAheadLog, segment: SealedSegment, insertForm: InsertForm) {
  const inserted = await settled(async () => {
    const body = await insertBody(log, { ...segment, insertForm }, segment.records)
    return insertNative(target, { body: body.chunks, bodyBytes: body.bytes, token: segment.token })
  })
  expect(inserted).toEqual({ outcome: 'inserted' })
}

async function contentOf({ database }: InsertTarget): Promise<string> {
  const columns = 'events.* REPLACE (toJSONString(properties) AS properties, toJSONString(context) AS context)'
  const rows = await clickhouse.query(`SELECT ${columns} FROM ${database}.events ORDER BY event_id FORMAT TSV`)
  const counts = await clickhouse.query(
    `SELECT type, events, users, sessions FROM ${database}.event_counts_per_day ORDER BY type FORMAT TSV`,
  )
  return rows + counts
}

test('joined or not, the same rows are stored and counted', async () => {
  const { log, segment } = await segmentOf('rows', smallBlocks(3000), 3)
  const contents: string[] = []
  for (const form of ['joined', 'plain'] as const) {
    const target = await preparedTarget(clickhouse)
    await insert(target, log, segment, form)
    contents.push(await contentOf(target))
  }
  expect(contents[0]?.split('\n').length).toBe(9000 + 40 + 1)
  expect(contents[0]).toBe(contents[1] as string)
  await log.dispose()
})

test('a segment that is sent again in its form is known; in another one ClickHouse would not know it', async () => {
  const { log, segment } = await segmentOf('again', smallBlocks(500), 3)
  const stored = async (...forms: InsertForm[]) => {
    const target = await preparedTarget(clickhouse)
    for (const form of forms) await insert(target, log, segment, form)
    const count = `(SELECT sum(events) FROM ${target.database}.events_per_day)`
    return (await clickhouse.query(`SELECT count(), ${count} FROM ${target.database}.events`)).trim()
  }
  expect(await stored('joined', 'joined')).toBe('1500\t1500')
  expect(await stored('plain', 'plain')).toBe('1500\t1500')
  expect(await stored('plain', 'joined')).toBe('3000\t3000')
  await log.dispose()
})

test('a segment keeps its form over restarts, and one of an older version is plain', async () => {
  const blocks = smallBlocks(50)
  for (const version of [1, 2]) {
    const path = `${directory.path}/version-${version}`
    const written = await openLog(path)
    for (const block of blocks) await written.commit([encoded(block, 3)])
    await written.close()
    await written.dispose()
    const [name = ''] = readdirSync(`${path}/log`).filter((file) => file.endsWith('.sealed'))
    const bytes = readFileSync(`${path}/log/${name}`)
    if (version === 1) {
      bytes.writeUInt32LE(1, 8)
      bytes.writeUInt32LE(0, 48)
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60)
      writeFileSync(`${path}/log/${name}`, bytes)
    }
    const log = await openLog(path)
    const segment = await log.takeSealed()
    if (segment === undefined) throw new Error('no segment')
    expect(segment.insertForm).toBe(version === 1 ? 'plain' : 'joined')
    const { bytes: sent } = await gathered((await insertBody(log, segment, segment.records)).chunks)
    expect(sent.equals(Buffer.concat(blocks))).toBe(version === 1)
    await log.dispose()
  }
})

test('a body has the same bytes at every try, from the ring and from the file, kept or made again', async () => {
  for (const [name, title] of [
    ['kept', 'short'],
    ['again', 'x'.repeat(4_000)],
  ] as const) {
    const blocks = smallBlocks(5_000, 1, title)
    const bodies: Buffer[] = []
    for (const ringBytes of [128 * 1024 * 1024, 0]) {
      const { log, segment } = await segmentOf(`${name}-${ringBytes}`, blocks, 1, ringBytes)
      for (let attempt = 0; attempt < 2; attempt++) {
        const body = await insertBody(log, segment, segment.records)
        const { bytes, largest } = await gathered(body.chunks)
        expect(Array.isArray(body.chunks)).toBe(name === 'kept')
        expect(bytes.length).toBe(body.bytes)
        expect(largest).toBeLessThan(2 * 1024 * 1024)
        bodies.push(bytes)
        const chunks = Array.isArray(body.chunks) ? [...body.chunks] : []
        body.release()
        expect(chunks.every(({ byteLength }) => byteLength === 0)).toBe(true)
      }
      await log.dispose()
    }
    for (const body of bodies) expect(body.equals(bodies[0] as Buffer)).toBe(true)
    expect(bodies[0]?.length).toBeLessThan(
      blocks.reduce((sum, { length }) => sum + length - title.length, 0) / 2 + 5_000 * title.length,
    )
  }
})

test('blocks that are large, alone, or not as ours are written are sent as they are', async () => {
  const foreign = Buffer.from('what only ClickHouse can say whether it can read it')
  for (const [name, blocks, rows] of [
    ['large', smallBlocks(3, 300), 300],
    ['alone', smallBlocks(1), 3],
    ['foreign', [...smallBlocks(5), foreign, ...smallBlocks(5)], 3],
  ] as const) {
    const { log, segment } = await segmentOf(name, blocks, rows)
    const body = await insertBody(log, segment, segment.records)
    const { bytes } = await gathered(body.chunks)
    expect({ name, isSame: bytes.equals(Buffer.concat(blocks)) }).toEqual({ name, isSame: true })
    expect(body.bytes).toBe(bytes.length)
    await log.dispose()
  }
})
