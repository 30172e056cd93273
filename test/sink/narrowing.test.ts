import { expect, test } from 'bun:test'
import type { RecordPosition } from '../../src/log/event-log.ts'
import type { StatementFailure } from '../../src/sink/insert.ts'
import { narrow, type Reader } from '../../src/sink/narrowing.ts'

const CANNOT_READ = 33
const MEMORY_LIMIT = 241

function records(count: number): RecordPosition[] {
  return Array.from({ length: count }, (_, ordinal) => ({ ordinal, offset: 0, byteLength: 1, rows: 1, checksum: 0 }))
}

function failure(exceptionCode: number | undefined): StatementFailure {
  return { exceptionCode, code: String(exceptionCode ?? 'closed'), message: 'no' }
}

/** A ClickHouse that answers by what `codeOf` says of the ordinals. */
function reader(
  codeOf: (ordinals: readonly number[]) => number | undefined | 'good',
  control: 'good' | 'bad' | 'gone' = 'good',
): Reader & { readonly reads: number } {
  let reads = 0
  return {
    get reads() {
      return reads
    },
    read: async (some) => {
      reads += 1
      const code = codeOf(some.map(({ ordinal }) => ordinal))
      return code === 'good' ? undefined : failure(code)
    },
    control: async () => control,
    pause: async () => undefined,
  }
}

async function outcome(count: number, asked: Reader) {
  const result = await narrow(records(count), asked)
  if (typeof result === 'string') return result
  return {
    parts: result.parts.map((part) => part.map(({ ordinal }) => ordinal)),
    refused: result.refused.map(({ record }) => record.ordinal),
  }
}

test('bad records are found, and the others go as one part', async () => {
  for (const bad of [[0], [9], [4], [0, 9], [3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8]]) {
    const asked = reader((ordinals) => (ordinals.some((ordinal) => bad.includes(ordinal)) ? CANNOT_READ : 'good'))
    const others = records(10).flatMap(({ ordinal }) => (bad.includes(ordinal) ? [] : [ordinal]))
    expect(await outcome(10, asked)).toEqual({ parts: [others], refused: bad })
  }
})

test('one bad record among a thousand is found with few questions', async () => {
  const asked = reader((ordinals) => (ordinals.includes(618) ? CANNOT_READ : 'good'))
  expect(await outcome(1_000, asked)).toMatchObject({ refused: [618] })
  expect(asked.reads).toBeLessThan(25)
})

test('a segment of nothing but bad records is refused as long as ClickHouse reads a good block', async () => {
  expect(
    await outcome(
      3,
      reader(() => CANNOT_READ),
    ),
  ).toEqual({ parts: [], refused: [0, 1, 2] })
  expect(
    await outcome(
      3,
      reader(() => CANNOT_READ, 'bad'),
    ),
  ).toBe('unclear')
  expect(
    await outcome(
      3,
      reader(() => CANNOT_READ, 'gone'),
    ),
  ).toBe('unclear')
})

test('what can be read as a whole is not touched', async () => {
  expect(
    await outcome(
      5,
      reader(() => 'good'),
    ),
  ).toBe('readable')
})

test('a reason that may pass refuses nothing when it passes', async () => {
  let times = 0
  const passing = reader((ordinals) => (ordinals.includes(2) && ++times < 5 ? MEMORY_LIMIT : 'good'))
  expect(await outcome(4, passing)).toBe('unclear')
})

test('a record that brings ClickHouse down, or asks for absurd memory, alone and again and again, is refused', async () => {
  for (const code of [MEMORY_LIMIT, undefined]) {
    const asked = reader((ordinals) => (ordinals.includes(2) ? code : 'good'))
    expect(await outcome(4, asked)).toEqual({ parts: [[0, 1, 3]], refused: [2] })
  }
})

test('a record is not refused while good blocks of its size cannot be read either', async () => {
  const sizes: number[] = []
  const asked: Reader = {
    ...reader((ordinals) => (ordinals.includes(2) ? MEMORY_LIMIT : 'good')),
    control: async (bytesMin) => {
      sizes.push(bytesMin)
      return bytesMin < 2 ? 'good' : 'bad'
    },
  }
  expect(await outcome(4, asked)).toBe('unclear')
  expect(sizes.at(-1)).toBe(2)
})

test('a whole that is too large for the memory is not cut: it may have been stored by a try before', async () => {
  expect(
    await outcome(
      4,
      reader((ordinals) => (ordinals.length > 2 ? MEMORY_LIMIT : 'good')),
    ),
  ).toBe('unclear')
})

test('records that can be read alone but not one after the other go in parts', async () => {
  const asked = reader((ordinals) => (ordinals.includes(0) && ordinals.includes(3) ? CANNOT_READ : 'good'))
  expect(await outcome(4, asked)).toEqual({
    parts: [
      [0, 1],
      [2, 3],
    ],
    refused: [],
  })
})

test('a body that could not be sent says nothing', async () => {
  const asked: Reader = {
    read: async () => ({ exceptionCode: undefined, code: 'body_failed', message: 'disk' }),
    control: async () => 'good',
    pause: async () => undefined,
  }
  expect(await outcome(4, asked)).toBe('unclear')
})
