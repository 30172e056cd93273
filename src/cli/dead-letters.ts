/** `penstock dead-letter`: list, show, retry, drop. Works on the files, beside a running server or without one. */
import type { Config } from '../config.ts'
import { isProblem } from '../problem.ts'
import { type DeadLetter, DeadLetters, deadLettersDirectory } from '../sink/dead-letters.ts'
import { prepareDryRun } from '../sink/dry-run.ts'
import { type InsertTarget, insertNative } from '../sink/insert.ts'
import { CommandFailure, clickhouseOf, configOrFail, orFail, printJson, printTable } from './session.ts'

const DUMP_BYTES_MAX = 512
const STRINGS_MAX = 40
const SHOWN_MESSAGE_LENGTH = 100

interface JsonOption {
  readonly json?: boolean
}

/** One line for each dead letter; one that is damaged is listed as such. */
export async function listDeadLetters(options: JsonOption): Promise<void> {
  const { letters, directory } = open()
  const rows: string[][] = [['name', 'events', 'bytes', 'code', 'refused', 'reason']]
  const documents: unknown[] = []
  for (const name of await letters.names()) {
    const letter = await letters.read(name)
    if (isProblem(letter)) {
      if (letter.problem === 'not_found') continue // re-sent or dropped meanwhile
      documents.push({ name, problem: letter.problem, message: letter.message })
      rows.push([name, '', '', letter.problem, '', letter.message])
      continue
    }
    const { header } = letter
    documents.push({ name, ...header })
    const { rows: events, block_bytes: bytes, code, refused_at: refusedAt, message } = header
    rows.push([name, String(events), String(bytes), code, refusedAt, oneLine(message, SHOWN_MESSAGE_LENGTH)])
  }
  if (options.json) return printJson(documents)
  if (documents.length === 0) return void process.stdout.write(`no dead letters in ${directory}\n`)
  printTable(rows)
}

/** Header, texts and bytes of one, and what ClickHouse says to it now. */
export async function showDeadLetter(name: string, options: JsonOption): Promise<void> {
  const { letters, config } = open()
  const letter = orFail(await letters.read(name))
  const now = await readableNow(clickhouseOf(config), letter)
  const texts = textsOf(letter.block)
  if (options.json) {
    const block = Buffer.from(letter.block).toString('base64')
    return printJson({ name, ...letter.header, readable: now.readable, now: now.message, texts, block_base64: block })
  }
  const { token, code, message, rows, refused_at: refusedAt, block_bytes: bytes } = letter.header
  printTable([
    ['name', name],
    ['token', token],
    ['events', String(rows)],
    ['bytes', String(bytes)],
    ['refused', refusedAt],
    ['code', code],
    ['reason', oneLine(message)],
    ['now', now.message],
  ])
  process.stdout.write(`\nTexts in it:\n${texts.map((text) => `  ${text}\n`).join('')}`)
  process.stdout.write(`\nFirst bytes of it:\n${hexDump(letter.block.subarray(0, DUMP_BYTES_MAX))}`)
}

/** Re-sends the named ones, or all; each goes when ClickHouse has stored it, under the token it has always had. */
export async function retryDeadLetters(given: readonly string[], options: JsonOption): Promise<void> {
  const { letters, config, directory } = open()
  const target = clickhouseOf(config)
  const names = given.length > 0 ? given : await letters.names()
  const results: { name: string; stored: boolean; code?: string; message?: string }[] = []
  for (const name of names) {
    const letter = await letters.read(name)
    if (isProblem(letter)) {
      results.push({ name, stored: false, code: letter.problem, message: letter.message })
      continue
    }
    const { block, header } = letter
    // One from before there was a cluster was never stored: any shard will do, the same at every try.
    const shard = config.clickhouse.cluster === undefined ? undefined : (header.shard ?? 1)
    const place = shard === undefined ? target : { ...target, shard }
    const result = await insertNative(place, { body: [block], bodyBytes: block.byteLength, token: header.token })
    if (result.outcome === 'inserted') {
      await letters.remove(name)
      results.push({ name, stored: true })
    } else {
      const { code, message } = result.failure
      results.push({ name, stored: false, code, message: oneLine(message) })
    }
  }
  const failed = results.filter(({ stored }) => !stored)
  if (options.json) printJson(results)
  else if (results.length === 0) process.stdout.write(`no dead letters in ${directory}\n`)
  else printTable(results.map(({ name, code = '', message = '' }) => [name, code || 'stored', message]))
  if (failed.length > 0) throw new CommandFailure(`${failed.length} of ${results.length} were not stored and are kept`)
}

/** Removes the named ones for good, or all with `--yes`. */
export async function dropDeadLetters(
  given: readonly string[],
  options: JsonOption & { yes?: boolean },
): Promise<void> {
  const { letters, directory } = open()
  if (given.length === 0 && !options.yes) {
    const count = letters.count()
    throw new CommandFailure(`name what to drop, or drop all ${count} in ${directory} for good with --yes`)
  }
  const names = given.length > 0 ? given : await letters.names()
  const dropped: string[] = []
  for (const name of names) if (await letters.remove(name)) dropped.push(name)
  if (options.json) printJson({ dropped })
  else process.stdout.write(`${dropped.length} dropped\n`)
  const missing = given.filter((name) => !dropped.includes(name))
  if (missing.length > 0) throw new CommandFailure(`there is no dead letter ${missing.join(', ')}`)
}

function open(): { letters: DeadLetters; config: Config; directory: string } {
  const config = configOrFail()
  const directory = deadLettersDirectory(config.dataDir)
  return { letters: new DeadLetters(directory), config, directory }
}

async function readableNow(
  target: InsertTarget,
  { block }: DeadLetter,
): Promise<{ readable: boolean | null; message: string }> {
  const dryRun = await prepareDryRun(target)
  if (typeof dryRun !== 'function') {
    return { readable: null, message: `ClickHouse could not be asked: ${oneLine(dryRun.failure.message)}` }
  }
  const failure = await dryRun({ body: [block], bodyBytes: block.byteLength })
  if (failure === undefined) return { readable: true, message: 'ClickHouse can read it: retry stores it' }
  return { readable: false, message: `ClickHouse cannot read it: ${failure.code} ${oneLine(failure.message)}` }
}

/** Runs of printable ASCII, as `strings` finds them. */
function textsOf(block: Uint8Array): string[] {
  const found =
    Buffer.from(block)
      .toString('latin1')
      .match(/[\x20-\x7e]{4,}/g) ?? []
  return found.slice(0, STRINGS_MAX).map((text) => oneLine(text, SHOWN_MESSAGE_LENGTH))
}

function hexDump(bytes: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.byteLength; at += 16) {
    const row = Buffer.from(bytes.subarray(at, at + 16))
    const hex = row.toString('hex').replaceAll(/(..)/g, '$1 ').padEnd(48)
    const text = row.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.')
    lines.push(`  ${at.toString(16).padStart(8, '0')}  ${hex} ${text}\n`)
  }
  return lines.join('')
}

function oneLine(text: string, lengthMax = 500): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > lengthMax ? `${line.slice(0, lengthMax)}…` : line
}
