/** What a start makes of files with changed, missing and added bytes. */
import { describe, expect, test } from 'bun:test'
import type { LogStats } from '../../src/log/event-log.ts'
import { END_MARK_BYTES } from '../../src/log/segment.ts'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { FaultyDisk } from '../support/faulty-file-system.ts'
import { blockOf, logOptions, readBlocks } from './support.ts'

const DIRECTORY = '/log'
const HEADER = 64
const RECORD = 32
const BLOCKS = ['first block', 'the second block', 'third']
/** Where the last record ends. */
const RECORDS_END = HEADER + BLOCKS.reduce((sum, block) => sum + RECORD + block.length, 0)
/** `reused`: open, and written over the file of an older segment, which was longer. */
const STATES = ['open', 'reused', 'sealed'] as const
type State = (typeof STATES)[number]
/** What that one held. */
const OLD_BLOCKS = ['an older block', 'and a longer one'.repeat(20), 'x'.repeat(100)]

function openLog(disk: FaultyDisk): Promise<WriteAheadLog> {
  const { fileSystem } = disk.mount()
  return WriteAheadLog.open(
    logOptions(DIRECTORY, {
      fileSystem,
      lock: () => ({ release: () => undefined }),
      ringBytes: 0,
      spares: { bytesMin: 1, keptMs: 60_000 },
    }),
  )
}

/** A log directory whose process was killed with one segment in the given state; returns the segment's path. */
async function leftBehind(state: State, blocks = BLOCKS): Promise<{ disk: FaultyDisk; path: string }> {
  const disk = new FaultyDisk()
  const log = await openLog(disk)
  if (state === 'reused') {
    for (const block of OLD_BLOCKS) await log.commit([blockOf(block)])
    await log.seal()
    const old = await log.takeSealed()
    if (old !== undefined) await log.release(old)
  }
  for (const block of blocks) expect(await log.commit([blockOf(block)])).toBe('durable')
  if (state === 'sealed') await log.seal()
  disk.kill()
  const name = disk.names(DIRECTORY).find((candidate) => candidate.endsWith(state === 'sealed' ? state : 'open'))
  return { disk, path: `${DIRECTORY}/${name}` }
}

/** All blocks that a new start hands out, and its last stats. */
async function drain(disk: FaultyDisk): Promise<{ blocks: string[]; tokens: string[]; stats: LogStats }> {
  const log = await openLog(disk)
  while (log.stats().retrying > 0) await Bun.sleep(1)
  await log.close()
  const blocks: string[] = []
  const tokens: string[] = []
  for (let segment = await log.takeSealed(); segment !== undefined; segment = await log.takeSealed()) {
    blocks.push(...(await readBlocks(log, segment)))
    tokens.push(segment.token)
    await log.release(segment)
  }
  const stats = log.stats()
  await log.dispose()
  return { blocks, tokens, stats }
}

/** The blocks whose records do not touch the range. */
function untouched(start: number, end: number): string[] {
  let position = HEADER
  return BLOCKS.filter((block) => {
    const from = position
    position += RECORD + block.length
    return end <= from || start >= position
  })
}

for (const state of STATES) {
  describe(`a damaged ${state} segment`, () => {
    test('with any one bit flipped loses the record it is in, and no other', async () => {
      const { disk, path } = await leftBehind(state)
      const intact = disk.contentOf(path) ?? Buffer.alloc(0)
      const { tokens } = await drain(disk)
      for (let offset = 0; offset < intact.byteLength; offset += 1) {
        const next = await leftBehind(state)
        next.disk.flipBit(next.path, offset, offset % 8)
        const expected = untouched(offset, offset + 1)
        const result = await drain(next.disk)
        expect(result.blocks).toEqual(expected)
        // What was in the file before counts for nothing.
        const isOld = offset >= RECORDS_END + END_MARK_BYTES
        expect(result.stats.damagedRecords + result.stats.tornTails).toBe(isOld ? 0 : 1)
        expect(next.disk.names(`${DIRECTORY}/damaged`)).toHaveLength(isOld ? 0 : 1)
        expect(result.tokens[0]?.split('/')[1]).toBe(tokens[0]?.split('/')[1] ?? '')
      }
    })

    test('cut at any length hands out the records that are whole', async () => {
      const { disk: whole, path: wholePath } = await leftBehind(state)
      const length = whole.contentOf(wholePath)?.byteLength ?? 0
      for (let cut = 0; cut < length; cut += 1) {
        const { disk, path } = await leftBehind(state)
        disk.put(path, disk.contentOf(path)?.subarray(0, cut) ?? new Uint8Array(0))
        const result = await drain(disk)
        expect(result.blocks).toEqual(untouched(cut, length))
        expect(disk.names(DIRECTORY).filter((name) => /open|sealed/.test(name))).toEqual([])
      }
    })

    test('with garbage behind it hands out everything, and the garbage is set aside', async () => {
      for (const garbage of [Buffer.from('x'), Buffer.alloc(100, 'garbage'), Buffer.from([0xf5, 0x50, 0x52, 0xff])]) {
        const { disk, path } = await leftBehind(state)
        const bytes = disk.contentOf(path) ?? Buffer.alloc(0)
        disk.put(path, Buffer.concat([bytes.subarray(0, RECORDS_END), garbage]))
        const result = await drain(disk)
        expect(result.blocks).toEqual(BLOCKS)
        const [copy] = disk.names(`${DIRECTORY}/damaged`)
        expect(disk.contentOf(`${DIRECTORY}/damaged/${copy}`)).toEqual(garbage)
      }
    })

    test('with any range overwritten hands out the records around it', async () => {
      const { disk: whole, path: wholePath } = await leftBehind(state)
      const length = whole.contentOf(wholePath)?.byteLength ?? 0
      for (let start = 0; start < length; start += 3) {
        for (const filler of [0x00, 0xa7]) {
          const { disk, path } = await leftBehind(state)
          const bytes = disk.contentOf(path) ?? Buffer.alloc(0)
          disk.put(path, bytes.fill(filler, start, Math.min(start + 50, length)))
          expect((await drain(disk)).blocks).toEqual(untouched(start, Math.min(start + 50, length)))
        }
      }
    })

    test('that holds nothing but garbage is set aside whole', async () => {
      const { disk, path } = await leftBehind(state)
      disk.put(path, Buffer.alloc(5000, 'garbage'))
      const result = await drain(disk)
      expect(result.blocks).toEqual([])
      expect(result.stats).toMatchObject({ damagedRecords: state === 'sealed' ? 2 : 1, logBytes: 0 })
      expect(disk.names(`${DIRECTORY}/damaged`)).toHaveLength(1)
    })

    test('keeps its damaged bytes also when they cannot be copied', async () => {
      const { disk, path } = await leftBehind(state)
      disk.flipBit(path, HEADER + RECORD + 1)
      disk.onOperation = (operation, where) =>
        operation === 'create' && where.includes('damaged') ? { code: 'ENOSPC' } : undefined
      expect((await drain(disk)).blocks).toEqual(BLOCKS.slice(1))
      const [kept] = disk.names(`${DIRECTORY}/damaged`)
      expect(kept).toContain('.sealed.')
    })

    test('of a newer format is left as it is', async () => {
      const { disk, path } = await leftBehind(state)
      const bytes = disk.contentOf(path) ?? Buffer.alloc(0)
      bytes.writeUInt32LE(3, 8)
      bytes.writeUInt32LE(Bun.hash.crc32(bytes.subarray(0, 60)), 60)
      disk.put(path, bytes)
      expect((await drain(disk)).blocks).toEqual([])
      expect(disk.contentOf(path)).toEqual(bytes)
    })
  })
}

test('a record inside of an event is no record', async () => {
  const { disk: first, path: firstPath } = await leftBehind('sealed')
  const record = first.contentOf(firstPath)?.subarray(HEADER, HEADER + RECORD + (BLOCKS[0]?.length ?? 0))
  const { disk, path } = await leftBehind('sealed', [`${record?.toString('latin1')}`, 'behind'])
  disk.flipBit(path, HEADER)
  expect((await drain(disk)).blocks).toEqual(['behind'])
})

test('a lost or damaged log id makes a new one for new segments, and old ones keep theirs', async () => {
  for (const damage of [undefined, 'not an id']) {
    const { disk, path } = await leftBehind('sealed')
    const oldId = disk.contentOf(path)?.toString('hex', 16, 32)
    disk.put(`${DIRECTORY}/log.id`, Buffer.from(damage ?? ''))
    const log = await openLog(disk)
    await log.commit([blockOf('new')])
    await log.close()
    const [old, fresh] = [await log.takeSealed(), await log.takeSealed()]
    expect(old?.token).toBe(`${oldId}/${old?.number}`)
    expect(fresh?.token.split('/')[0]).not.toBe(oldId)
    await log.dispose()
  }
})

test('a segment that is there open and sealed is handed out once', async () => {
  for (const failures of [0, 1, 2, 3]) {
    const { disk, path } = await leftBehind('sealed')
    disk.put(path.replace('sealed', 'open'), disk.contentOf(path) ?? Buffer.alloc(0))
    let left = failures
    disk.onOperation = (operation) => {
      if (operation !== 'syncDirectory' || left === 0) return undefined
      left -= 1
      return { code: 'EIO' }
    }
    const result = await drain(disk)
    expect(result.blocks).toEqual(BLOCKS)
    expect(result.tokens).toHaveLength(1)
    expect(disk.names(`${DIRECTORY}/damaged`)).toHaveLength(1)
  }
})
