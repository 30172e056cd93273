/** Events of the person among the dead letters: `dead-letter retry` would bring them into ClickHouse later. */
import { isProblem } from '../problem.ts'
import type { DeadLetters } from '../sink/dead-letters.ts'
import { type EventIds, readEventIds } from './block-persons.ts'
import type { Person, PersonQuery } from './person.ts'

/** A dead letter that holds, or may hold, events of the person. */
export interface FoundDeadLetter {
  readonly name: string
  /** It is being written, or was left so by a crash a moment ago; the name is that of the file. */
  readonly isDraft?: true
  /** All of its events, of whomever; undefined when it is damaged. */
  readonly events: number | undefined
  /** Of the person; undefined when it cannot be read: then nobody knows. */
  readonly own: number | undefined
}

/** Looks through all dead letters. Throws the file system's error. */
export async function findInDeadLetters(
  letters: DeadLetters,
  person: Person,
  query: PersonQuery,
): Promise<FoundDeadLetter[]> {
  // Drafts first: one that becomes a dead letter meanwhile is among these.
  const drafts = await letters.drafts()
  const names = await letters.names()
  if (names.length + drafts.length === 0) return []
  const users = new Set(await person.ids('user'))
  const devices = new Set(await person.ids('device'))
  const sessions = new Set(await person.ids('nameless'))
  const isOwn = ({ tenantId, workspaceId, userId, anonymousId, sessionId }: EventIds) => {
    if (tenantId !== query.tenantId || workspaceId !== query.workspaceId) return false
    if (userId !== '') return users.has(userId)
    return anonymousId !== '' ? devices.has(anonymousId) : sessions.has(sessionId)
  }
  const found: FoundDeadLetter[] = drafts.map((name) => ({ name, isDraft: true, events: undefined, own: undefined }))
  for (const name of names) {
    const letter = await letters.read(name)
    if (isProblem(letter)) {
      if (letter.problem !== 'not_found') found.push({ name, events: undefined, own: undefined })
      continue
    }
    const own = readEventIds(letter.block)?.filter(isOwn).length
    if (own !== 0) found.push({ name, events: letter.header.rows, own })
  }
  return found
}
