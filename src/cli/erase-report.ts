/** How `penstock erase` says what it found, what it did and what stays. */
import { formatBytes } from '../bytes.ts'
import type { FoundDeadLetter } from '../erase/dead-letter-persons.ts'
import type { EraseReport } from './erase.ts'
import { printTable } from './session.ts'

const TEXTS_SHOWN = 20

/** For programs. `verified`: everything was removed, and counted again. */
export function toJson({ query, findings, outcome, stays }: EraseReport) {
  return {
    tenant_id: query.tenantId,
    workspace_id: query.workspaceId,
    users: query.users,
    dry_run: outcome === undefined,
    verified: outcome !== undefined && outcome.problems.length === 0,
    found: findings.rows,
    anonymous_ids: findings.anonymousIds,
    shared_sessions: findings.sharedSessions,
    shared_anonymous_ids: findings.sharedDevices.map(({ anonymous_id, is_given, events }) => ({
      anonymous_id,
      events_without_user: events,
      kept: is_given === 0,
    })),
    aliases: findings.aliases.map(({ userId, events }) => ({ user_id: userId, events })),
    texts: findings.texts.listed,
    texts_total: findings.texts.total,
    dead_letters: findings.deadLetters,
    removed: outcome?.removed ?? {},
    texts_removed: outcome?.textsRemoved ?? 0,
    sessions_restored: outcome?.sessionsRestored ?? 0,
    dead_letters_dropped: outcome?.deadLettersDropped ?? [],
    problems: outcome?.problems ?? [],
    stays: {
      outdated_parts: stays.outdatedParts,
      outdated_bytes: stays.outdatedBytes,
      old_parts_lifetime_seconds: stays.oldPartsLifetimeSeconds,
      detached_parts: stays.detachedParts,
      damaged_files: stays.damagedFiles,
    },
  }
}

/** For people. */
export function printReport(report: EraseReport): void {
  const { query, findings, outcome } = report
  const rows = outcome?.removed ?? findings.rows
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0)
  const people = query.users.length === 1 ? `user ${query.users[0]}` : `${query.users.length} users`
  const devices = findings.anonymousIds === 1 ? '1 anonymous id' : `${findings.anonymousIds} anonymous ids`
  write(
    `${outcome === undefined ? 'Found' : 'Removed'} of ${people} and ${devices} in ${query.tenantId}/${query.workspaceId}:`,
  )
  if (total === 0) write('  nothing')
  else printTable(Object.entries(rows).map(([table, count]) => ['', table, String(count)]))
  for (const line of [...noteLines(report), ...stayLines(report)]) write(line)
}

function noteLines({ findings, outcome }: EraseReport): string[] {
  const { sharedDevices, sharedSessions, aliases, texts, deadLetters } = findings
  return [
    ...sharedDevices.map(({ anonymous_id: id, is_given: isGiven, events }) =>
      isGiven === 1
        ? `Anonymous id ${id} was used by others too; its ${events} events without user count as the person's, because it was given.`
        : `Anonymous id ${id} was used by others too: its ${events} events without user stay (--anonymous-id ${id} removes them).`,
    ),
    ...(sharedSessions === 0
      ? []
      : [`${sharedSessions} sessions have events of others too: they are made again from these.`]),
    ...aliases.map(
      ({ userId, events }) =>
        `An alias event says that user ${userId} (${events} events) is the same person: --user ${userId} if so.`,
    ),
    ...texts.listed
      .slice(0, TEXTS_SHOWN)
      .map(({ table, column, text }) => `May name the person: ${table}, ${column} ${JSON.stringify(text)}`),
    ...(texts.total > TEXTS_SHOWN
      ? [`… and ${texts.total - TEXTS_SHOWN} more (--json lists ${texts.listed.length})`]
      : []),
    ...(outcome === undefined || outcome.textsRemoved === 0
      ? []
      : [`Rows of aggregates removed: ${outcome.textsRemoved}.`]),
    ...deadLetters.map((letter) => deadLetterLine(letter, outcome?.deadLettersDropped.includes(letter.name) === true)),
  ]
}

function deadLetterLine({ name, events, own }: FoundDeadLetter, isDropped: boolean): string {
  const what =
    own === undefined ? 'cannot be read: it may hold some too' : `holds ${own} of the person among ${events} events`
  return `Dead letter ${name} ${what}${isDropped ? ': dropped.' : '.'}`
}

function stayLines({ outcome, stays }: EraseReport): string[] {
  if (outcome === undefined) return []
  const { outdatedParts, outdatedBytes, oldPartsLifetimeSeconds, detachedParts, damagedFiles } = stays
  return [
    '',
    'What stays:',
    ...(outdatedParts === 0
      ? []
      : [
          `  on ClickHouse's disk, for ${oldPartsLifetimeSeconds + 40} s at most: ${outdatedParts} replaced parts (${formatBytes(outdatedBytes)})`,
        ]),
    ...(detachedParts === 0 ? [] : [`  ${detachedParts} detached parts, which cannot be searched`]),
    ...(damagedFiles === 0 ? [] : [`  ${damagedFiles} files in log/damaged, which cannot be searched`]),
    '  for a minute: files of the log that wait to be written over (.spare)',
    '  counts per minute, hour, day, page and referrer',
    '  backups, exports and access logs: none of them is reached from here',
    '  for DEDUPE_WINDOW_MS: hashes of event ids, in Redis and in .ids files',
    'New events of the person are stored like any other: the producers have to stop sending them.',
    'Where several collectors run, each has a log and dead letters of its own: run this on each.',
  ]
}

function write(line: string): void {
  process.stdout.write(`${line}\n`)
}
