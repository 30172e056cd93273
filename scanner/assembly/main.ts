/**
 * Reads the events of a request out of its bytes, straight into columns: the quick way of the events that are as nearly all are.
 *
 * It decides nothing. A request of which anything is unusual, wrong, or a case for a library is odd: none of it is taken, and it goes the
 * way that `src/draft.ts` and `src/native` describe, which has the last word and the words for errors. What is taken here becomes the
 * same bytes as there.
 *
 *     body ─ readBody, readLines ─→ Rows (of one request) ─ appendRows ─→ Block ─ writeBlock ─→ bytes of the block
 */
import { Block } from './block'
import { Bytes, findEither, SLACK, setSecret } from './bytes'
import { beginBlock } from './columns'
import {
  browsers,
  Dictionary,
  devices,
  Entry,
  locales,
  protocols,
  referrerHosts,
  schemaVersions,
  systems,
  tenants,
  types,
  userAgents,
  workspaces,
} from './dictionary'
import { beginKeys, defaultAddress, nameFields, readEvent, setOwner, setRequest } from './event'
import { areKeysMany, behindValue, isEnd } from './keys'
import { orderWork } from './order'
import { pick } from './pick'
import { Rows } from './rows'
import { EVENT_ID } from './table'
import { CLOSE_ARRAY, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, plainEnd, QUOTE, skipSpace } from './text'

export {
  browsers,
  defaultAddress,
  devices,
  nameFields,
  orderWork,
  protocols,
  schemaVersions,
  setOwner,
  setRequest,
  setSecret,
  systems,
  tenants,
  userAgents,
  workspaces,
}

/** What is to be read. */
const input = new Bytes(64 * 1024)

/** Makes room for what is to be read, and gives its address. Zeros follow it, which are nothing in JSON. */
export function inputOf(length: u32): usize {
  input.clear()
  input.ensure(length)
  input.length = length
  memory.fill(input.end, 0, SLACK)
  return input.begin
}

/** Memory for the events of a request, to be used again and again. */
export function newRows(): Rows {
  return new Rows()
}

/** Bytes of memory that rows hold. */
export function memoryOf(rows: Rows): u32 {
  return rows.memory()
}

/** Gives back their memory for good. */
export function freeRows(rows: Rows): void {
  rows.free()
}

/**
 * Bytes of paths and values that a request may have: its paths can be many times what stands in the body. What has more is odd, since this
 * memory never becomes smaller.
 */
const JSON_BYTES_MAX: u32 = 8 * 1024 * 1024

/** Reads an event; gives the address behind it, 0 when it is odd, or one too many. */
function readNext(at: usize, rows: Rows): usize {
  at = readEvent(at, rows)
  return rows.jsonBytes() > JSON_BYTES_MAX ? 0 : at
}

/** Reads `{"events": [event, …]}` out of the input; gives the number of events, 0 when it is odd. */
export function readBody(rows: Rows): u32 {
  begin(rows)
  let at = skipSpace(input.begin)
  if (load<u8>(at) !== OPEN_OBJECT) return 0
  at = skipSpace(at + 1)
  if (!isEventsKey(at)) return 0
  at = readEvents(behindColon(at + 8), rows)
  if (at !== 0) at = behindValue(at)
  return at !== 0 && isEnd && skipSpace(at) === input.end ? rows.count : 0
}

/** `"events"`, from behind its first quote, as it stands in memory. */
const EVENTS: u64 = 0x2273746e657665
/** `"seq"` likewise. */
const SEQ: u32 = 0x22716573

function isEventsKey(at: usize): bool {
  return load<u8>(at) === QUOTE && (load<u64>(at, 1) & 0xffffffffffffff) === EVENTS
}

/** From behind a key to its value; where there is no colon, to what is no value. */
function behindColon(at: usize): usize {
  at = skipSpace(at)
  return load<u8>(at) === COLON ? skipSpace(at + 1) : input.end
}

/** The value of `seq` as it stands in the message that was read last; of length 0 when there is none. */
let sequenceAt: usize = 0
let sequenceLength: u32 = 0

export function sequence(): usize {
  return sequenceAt
}

export function sequenceBytes(): u32 {
  return sequenceLength
}

/** Reads `[event, …]` or `{"events": [event, …], "seq"?: …}` out of the input; gives the number of events, 0 when it is odd. */
export function readMessage(rows: Rows): u32 {
  begin(rows)
  sequenceLength = 0
  let at = skipSpace(input.begin)
  if (load<u8>(at) === OPEN_ARRAY) {
    at = readEvents(at, rows)
    return at !== 0 && skipSpace(at) === input.end ? rows.count : 0
  }
  if (load<u8>(at) !== OPEN_OBJECT) return 0
  at = skipSpace(at + 1)
  do {
    if (isEventsKey(at) && rows.count === 0) at = readEvents(behindColon(at + 8), rows)
    else if (load<u8>(at) === QUOTE && load<u32>(at, 1) === SEQ && sequenceLength === 0)
      at = readSequence(behindColon(at + 5))
    else return 0
    if (at !== 0) at = behindValue(at)
    if (at === 0) return 0
  } while (!isEnd)
  return skipSpace(at) === input.end ? rows.count : 0
}

/** A number or text longer than this is read elsewhere. */
const SEQUENCE_DIGITS_MAX: u32 = 15
const SEQUENCE_CHARS_MAX: u32 = 256

/** Reads a whole number from 0 on, or a text that is plain: what is written as it is read. */
function readSequence(at: usize): usize {
  sequenceAt = at
  let end = at
  if (load<u8>(at) === QUOTE) {
    end = plainEnd(at + 1)
    if (load<u8>(end) !== QUOTE || end - at > SEQUENCE_CHARS_MAX) return 0
    end++
  } else {
    while (<u32>load<u8>(end) - 0x30 <= 9) end++
    if (end === at || end - at > SEQUENCE_DIGITS_MAX || (load<u8>(at) === 0x30 && end > at + 1)) return 0
  }
  sequenceLength = <u32>(end - at)
  return end
}

function begin(rows: Rows): void {
  rows.clear()
  if (areKeysMany()) beginKeys()
}

function readEvents(at: usize, rows: Rows): usize {
  if (load<u8>(at) !== OPEN_ARRAY) return 0
  do {
    at = readNext(skipSpace(at + 1), rows)
    if (at === 0) return 0
    at = skipSpace(at)
  } while (load<u8>(at) === COMMA)
  return load<u8>(at) === CLOSE_ARRAY ? at + 1 : 0
}

const NEWLINE: u32 = 0x0a
const RETURN: u32 = 0x0d

/** Lines that `readLines` read last, empty ones too. */
let lines: u32 = 0

export function lineCount(): u32 {
  return lines
}

/** Reads one event a line out of the input; gives the number of events, 0 when a line is odd, or all are empty. */
export function readLines(rows: Rows): u32 {
  begin(rows)
  const end = input.end
  let line = input.begin
  lines = 0
  while (line < end) {
    const lineEnd = findEither(line, end, NEWLINE, NEWLINE)
    store<u8>(lineEnd, 0) // a line ends in the middle of nothing
    // Only an empty line is none.
    if (line < lineEnd && (lineEnd > line + 1 || load<u8>(line) !== RETURN)) {
      const at = readNext(skipSpace(line), rows)
      if (at === 0 || skipSpace(at) !== lineEnd) return 0
    }
    line = lineEnd + 1
    lines++
  }
  return rows.count
}

/** Puts some events of a request into other rows: those for which a byte of what was told is not 0. */
export function pickRows(from: Rows, to: Rows): void {
  to.clear()
  pick(from, told.begin, to)
}

/** The ids of the events, 16 bytes each. */
export function idsOf(rows: Rows): usize {
  return rows.column(EVENT_ID).begin
}

/** A byte for each event: whether its id is the client's. */
export function areIdsGiven(rows: Rows): usize {
  return rows.areIdsGiven.begin
}

/** A text that is told beside what is read. */
const told = new Bytes(1024)

/** Makes room for a text to be told, and gives its address. */
export function tellAt(length: u32): usize {
  told.clear()
  told.ensure(length)
  return told.begin
}

/** The entry of the text that was told; null when there are too many. */
export function intern(dictionary: Dictionary, length: u32): Entry | null {
  return dictionary.find(told.begin, length)
}

/** Says what a User-Agent says. */
export function setAgent(agent: Entry, browser: Entry, os: Entry, device: Entry): void {
  agent.browser = browser
  agent.os = os
  agent.device = device
}

export function newBlock(): Block {
  return new Block()
}

/** Where to write name and type of a column: `length` bytes. */
export function headerOf(block: Block, column: u32, length: u32): usize {
  const header = block.column(column).header
  header.ensure(length)
  header.length = length
  return header.begin
}

/** A block is gathered from now on, and no other. */
export { beginBlock }

/** Whether texts should be forgotten before the next block. */
export function areTextsMany(): bool {
  return (
    tenants.isLarge() ||
    workspaces.isLarge() ||
    types.isLarge() ||
    protocols.isLarge() ||
    referrerHosts.isLarge() ||
    locales.isLarge() ||
    userAgents.isLarge() ||
    browsers.isLarge() ||
    systems.isLarge() ||
    devices.isLarge() ||
    schemaVersions.isLarge()
  )
}

/** Forgets all texts: only when no rows are held, and before the next block begins. What was told of requests is to be told again. */
export function forgetTexts(): void {
  tenants.forget()
  workspaces.forget()
  types.forget()
  protocols.forget()
  referrerHosts.forget()
  locales.forget()
  userAgents.forget()
  browsers.forget()
  systems.forget()
  devices.forget()
  schemaVersions.forget()
}

export function appendRows(rows: Rows, block: Block): void {
  block.append(rows)
}

/** Events in a block. */
export function rowsOf(block: Block): u32 {
  return block.rows
}

/** Exact size of a block, in bytes. */
export function bytesOf(block: Block): u32 {
  return block.bytes()
}

/** Writes a block; gives where. It is there until the next one is written. */
export function writeBlock(block: Block): usize {
  written.clear()
  written.ensure(block.bytes())
  block.write(written)
  return written.begin
}

const written = new Bytes(64 * 1024)

export function clearBlock(block: Block): void {
  block.clear()
}
