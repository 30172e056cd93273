import { expect, test } from 'bun:test'
import { createLogger } from '../../src/telemetry/logger.ts'

function collect() {
  const lines: string[] = []
  return { lines, destination: { write: (line: string) => void lines.push(line) } }
}

test('a record is one JSON line with the level as a word and the time in ISO 8601', () => {
  const { lines, destination } = collect()
  createLogger({ level: 'info', destination }).info({ rows: 3 }, 'flushed')
  expect(lines).toHaveLength(1)
  const record = JSON.parse(lines[0] ?? '')
  expect(record).toMatchObject({ level: 'info', rows: 3, msg: 'flushed' })
  expect(new Date(record.time).toISOString()).toBe(record.time)
})

test('an error is logged with its type, message and stack', () => {
  const { lines, destination } = collect()
  createLogger({ level: 'info', destination }).error({ err: new RangeError('too far') }, 'failed')
  expect(JSON.parse(lines[0] ?? '').err).toMatchObject({ type: 'RangeError', message: 'too far' })
})

test('records below the level are not written, and silent writes nothing', () => {
  const { lines, destination } = collect()
  createLogger({ level: 'warn', destination }).info('quiet')
  createLogger({ level: 'silent', destination }).fatal('quiet')
  expect(lines).toEqual([])
})

test('pretty records are there as soon as the call returns, and are no JSON', () => {
  const script = `
    import { createLogger } from ${JSON.stringify(`${import.meta.dir}/../../src/telemetry/logger.ts`)}
    createLogger({ level: 'info', pretty: true }).info({ rows: 3 }, 'flushed')
    process.exit(0)`
  const child = Bun.spawnSync([process.execPath, '-e', script], { stdout: 'pipe' })
  const output = child.stdout.toString()
  expect(output).toContain('flushed')
  expect(output).toContain('rows')
  expect(output.startsWith('{')).toBe(false)
})
