/** An event in the shape of the canonical protocol, as `src/draft.ts` describes and reads it. */

import { Bytes } from './bytes'
import { Dictionary, Entry, locales, referrerHosts, schemaVersions, types, userAgents } from './dictionary'
import * as host from './host'
import {
  appendRow,
  beginRow,
  isRepeated,
  mayHave,
  readObject,
  readRowValue,
  resetElementRoots,
  skipValue,
} from './json'
import { behindValue, findNode, forgetKeys, isEnd, Node, newRoot, readKey, valueAt } from './keys'
import { Rows } from './rows'
import * as column from './table'
import { CLOSE_OBJECT, OPEN_OBJECT, QUOTE, readText, skipSpace, textAt, textLength } from './text'
import {
  findHost,
  findPath,
  isUuid,
  NO_TIME,
  parseTimestamp,
  partAt,
  partLength,
  writeAddress,
  writeNewUuid,
  writeUuid,
} from './values'

/** Which key of an event, or of its context, a node is; 0: none of these. */
export const enum Field {
  TYPE = 1,
  TIMESTAMP,
  SESSION_ID,
  EVENT_ID,
  USER_ID,
  ANONYMOUS_ID,
  SCHEMA_VERSION,
  PROPERTIES,
  CONTEXT,
  IP,
  USER_AGENT,
  LOCALE,
  PAGE_URL,
  PAGE_TITLE,
  REFERRER,
}

const REQUIRED: u32 = (1 << Field.TYPE) | (1 << Field.TIMESTAMP) | (1 << Field.SESSION_ID) | (1 << Field.PROPERTIES)

/** Longest texts, in characters: none has more characters than bytes, and one with fewer is read elsewhere. */
const TYPE_MAX: u32 = 100
const ID_MAX: u32 = 256
const SCHEMA_VERSION_MAX: u32 = 64
const LOCALE_MAX: u32 = 64
/** As that of values in JSON: a context is checked like any other object. */
const CONTEXT_TEXT_MAX: u32 = 10240

/** Where the keys of events, of their properties and of their contexts begin. */
let eventRoot: Node = newRoot()
let propertiesRoot: Node = eventRoot
let contextRoot: Node = eventRoot
/** Names of the fields in their order, a quote behind each. */
const names = new Bytes(256)

/** Takes the names of the fields, in their order, a quote behind each; before anything is read. */
export function nameFields(at: usize, length: u32): void {
  names.append(at, length)
  beginKeys()
}

/** Forgets the keys that were met, but those of fields. */
export function beginKeys(): void {
  forgetKeys()
  eventRoot = newRoot()
  propertiesRoot = newRoot()
  contextRoot = newRoot()
  resetElementRoots()
  let at = names.begin
  for (let field: u32 = Field.TYPE; at < names.end; field++) {
    let end = at
    while (load<u8>(end) !== QUOTE) end++
    const node = findNode(field >= <u32>Field.IP ? contextRoot : eventRoot, at, <u32>(end - at))
    if (node !== null) node.field = field
    at = end + 1
  }
}

/** What all events of the request have. */
let tenant: Entry | null = null
let workspace: Entry | null = null
let protocol: Entry | null = null
let receivedAt: i64 = 0
/** The latest time that an event may have. */
let latestAt: i64 = 0
/** Addresses are cut to their network. */
let isAnonymous: bool = false
/** What events have that do not say it themselves. */
let defaultVersion: Entry | null = null
let defaultAgent: Entry | null = null
/** 16 bytes. */
export const defaultAddress = memory.data(16)

/** Whose the events are that come next. */
export function setOwner(ofTenant: Entry, ofWorkspace: Entry, ofProtocol: Entry): void {
  tenant = ofTenant
  workspace = ofWorkspace
  protocol = ofProtocol
}

/** Says of a request what its events have; the address is written to `defaultAddress`. Times are in milliseconds since 1970. */
export function setRequest(received: f64, latest: f64, anonymous: bool, version: Entry, agent: Entry): void {
  receivedAt = <i64>received
  latestAt = <i64>latest
  isAnonymous = anonymous
  defaultVersion = version
  defaultAgent = agent
}

/** Which fields the event has that is being read. */
let fields: u32 = 0

/** Reads an event into a row; gives the address behind it, 0 when it is odd: what was appended is then to be thrown away. */
export function readEvent(at: usize, rows: Rows): usize {
  if (load<u8>(at) !== OPEN_OBJECT) return 0
  fields = 0
  at = skipSpace(at + 1)
  let before: Node | null = null
  do {
    const node = readKey(at, eventRoot, before)
    if (node === null) return 0
    before = node
    at = node.field === 0 ? skipValue(valueAt, 1) : readField(valueAt, node.field, rows)
    if (at !== 0) at = behindValue(at)
    if (at === 0) return 0
  } while (!isEnd)
  if ((fields & REQUIRED) !== REQUIRED) return 0
  complete(rows)
  rows.count++
  return at
}

function readField(at: usize, field: u32, rows: Rows): usize {
  const bit: u32 = 1 << field
  if ((fields & bit) !== 0) return 0
  fields |= bit
  const first: u32 = load<u8>(at)
  if (field === Field.PROPERTIES) {
    if (first !== OPEN_OBJECT) return 0
    beginRow()
    at = readObject(at + 1, propertiesRoot, 1)
    if (at !== 0) appendJson(rows, column.PROPERTIES)
    return at
  }
  if (field === Field.CONTEXT) return first === OPEN_OBJECT ? readContext(at + 1, rows) : 0
  if (first !== QUOTE) return 0
  at = readText(at + 1)
  return at !== 0 && takeText(field, rows) ? at : 0
}

/** Takes the text that was read last as one of the event's fields; false when it cannot be that. */
function takeText(field: u32, rows: Rows): bool {
  switch (field) {
    case Field.TYPE:
      return isOfLength(TYPE_MAX) && takeEntry(types, column.TYPE, rows)
    case Field.TIMESTAMP: {
      const time = parseTimestamp(textAt, textLength)
      rows.putInt64(column.OCCURRED_AT, time)
      return time !== NO_TIME && time <= latestAt
    }
    case Field.SESSION_ID:
      rows.putText(column.SESSION_ID, textAt, textLength)
      return isUuid(textAt, textLength)
    case Field.EVENT_ID:
      return isOfLength(ID_MAX) && takeEventId(rows)
    case Field.USER_ID:
      rows.putText(column.USER_ID, textAt, textLength)
      return isOfLength(ID_MAX)
    case Field.ANONYMOUS_ID:
      rows.putText(column.ANONYMOUS_ID, textAt, textLength)
      return isOfLength(ID_MAX)
    default: // SCHEMA_VERSION
      return isOfLength(SCHEMA_VERSION_MAX) && takeEntry(schemaVersions, column.SCHEMA_VERSION, rows)
  }
}

function isOfLength(most: u32): bool {
  return textLength > 0 && textLength <= most
}

function takeEntry(dictionary: Dictionary, column: u32, rows: Rows): bool {
  const entry = dictionary.find(textAt, textLength)
  rows.putEntry(column, entry)
  return entry !== null
}

function takeEventId(rows: Rows): bool {
  const ids = rows.column(column.EVENT_ID)
  ids.ensure(16)
  if (isUuid(textAt, textLength)) {
    writeUuid(textAt, ids.end)
    rows.putNoText(column.MESSAGE_ID)
  } else {
    host.nameId(textAt, textLength, ids.end)
    rows.putText(column.MESSAGE_ID, textAt, textLength)
  }
  ids.length += 16
  rows.areIdsGiven.appendByte(1)
  return true
}

function appendJson(rows: Rows, column: u32): void {
  appendRow(rows.column(column), rows.pathsOf(column), rows.valuesOf(column))
}

/** Reads the context from behind its brace: what has a column of its own, and the rest as a row of JSON. */
function readContext(at: usize, rows: Rows): usize {
  beginRow()
  at = skipSpace(at)
  let before: Node | null = null
  if (load<u8>(at) === CLOSE_OBJECT) at++
  else {
    do {
      const node = readKey(at, contextRoot, before)
      if (node === null || isRepeated(node) || !mayHave(node)) return 0
      before = node
      at = node.field === 0 ? readRowValue(valueAt, node, 1) : readContextField(valueAt, node.field, rows)
      if (at !== 0) at = behindValue(at)
      if (at === 0) return 0
    } while (!isEnd)
  }
  appendJson(rows, column.CONTEXT)
  return at
}

function readContextField(at: usize, field: u32, rows: Rows): usize {
  fields |= 1 << field
  if (load<u8>(at) !== QUOTE) return 0
  at = readText(at + 1)
  return at !== 0 && textLength <= CONTEXT_TEXT_MAX && takeContextText(field, rows) ? at : 0
}

/** Takes the text that was read last as one of the context's fields; false when it cannot be that. */
function takeContextText(field: u32, rows: Rows): bool {
  switch (field) {
    case Field.IP: {
      const ips = rows.column(column.IP)
      ips.ensure(16)
      ips.length += 16
      return writeAddress(textAt, textLength, isAnonymous, ips.end - 16)
    }
    case Field.USER_AGENT: {
      const agent = userAgents.find(textAt, textLength)
      return agent !== null && takeAgent(agent, rows)
    }
    case Field.LOCALE:
      return textLength <= LOCALE_MAX && takeEntry(locales, column.LOCALE, rows)
    case Field.PAGE_URL:
      rows.putText(column.URL, textAt, textLength)
      if (!findPath(textAt, textLength)) return false
      rows.putText(column.PATH, partAt, partLength)
      return true
    case Field.PAGE_TITLE:
      rows.putText(column.TITLE, textAt, textLength)
      return true
    default: {
      // REFERRER
      rows.putText(column.REFERRER, textAt, textLength)
      if (!findHost(textAt, textLength)) return false
      const found = referrerHosts.find(partAt, partLength)
      rows.putEntry(column.REFERRER_HOST, found)
      return found !== null
    }
  }
}

/** Takes a User-Agent and what it says; false when there is no room to remember that. */
function takeAgent(agent: Entry, rows: Rows): bool {
  if (agent.browser === null) host.readAgent(agent.text, agent.length, agent)
  rows.putEntry(column.USER_AGENT, agent)
  rows.putEntry(column.BROWSER, agent.browser)
  rows.putEntry(column.OS, agent.os)
  rows.putEntry(column.DEVICE, agent.device)
  return agent.browser !== null
}

/** Fills in what the event does not say, and what all events of the request have. */
function complete(rows: Rows): void {
  rows.putEntry(column.TENANT_ID, tenant)
  rows.putEntry(column.WORKSPACE_ID, workspace)
  rows.putEntry(column.PROTOCOL, protocol)
  rows.putInt64(column.RECEIVED_AT, receivedAt)
  if (!has(Field.EVENT_ID)) {
    const ids = rows.column(column.EVENT_ID)
    ids.ensure(16)
    writeNewUuid(receivedAt, ids.end)
    ids.length += 16
    rows.areIdsGiven.appendByte(0)
    rows.putNoText(column.MESSAGE_ID)
  }
  if (!has(Field.USER_ID)) rows.putNoText(column.USER_ID)
  if (!has(Field.ANONYMOUS_ID)) rows.putNoText(column.ANONYMOUS_ID)
  if (!has(Field.SCHEMA_VERSION)) rows.putEntry(column.SCHEMA_VERSION, defaultVersion)
  if (!has(Field.CONTEXT)) {
    beginRow()
    appendJson(rows, column.CONTEXT)
  }
  if (!has(Field.IP)) rows.column(column.IP).append(defaultAddress, 16)
  if (!has(Field.USER_AGENT)) takeAgent(changetype<Entry>(defaultAgent), rows)
  if (!has(Field.LOCALE)) rows.putEntry(column.LOCALE, locales.empty)
  if (!has(Field.PAGE_URL)) {
    rows.putNoText(column.URL)
    rows.putNoText(column.PATH)
  }
  if (!has(Field.PAGE_TITLE)) rows.putNoText(column.TITLE)
  if (!has(Field.REFERRER)) {
    rows.putNoText(column.REFERRER)
    rows.putEntry(column.REFERRER_HOST, referrerHosts.empty)
  }
}

function has(field: u32): bool {
  return (fields & (1 << field)) !== 0
}
