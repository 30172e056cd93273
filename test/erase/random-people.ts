/** Events of people who share devices and sessions as it comes, and which of them are one person's: told in another way than the program does it. */
import type { Event } from '../../src/event.ts'
import { numbered } from './erase-fixture.ts'

export interface RandomPeople {
  /** Numbered. */
  readonly events: readonly Partial<Event>[]
  /** The user that is to be erased. */
  readonly erased: string
  /** Numbers of the person's events. */
  readonly own: ReadonlySet<number>
  /** Devices that are the person's alone. */
  readonly devices: readonly string[]
}

export function randomPeople(random: () => number): RandomPeople {
  const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(random() * values.length)] as Value
  const startedAt = Date.now() - 3_600_000
  const tag = crypto.randomUUID().slice(0, 8)
  const users = Array.from({ length: 4 }, (_, index) => `user-${tag}-${index}`)
  const devices = Array.from({ length: 7 }, (_, index) => `device-${tag}-${index}`)
  const sessions = Array.from({ length: 9 }, () => crypto.randomUUID())
  const erased = users[0] as string
  const events = numbered(
    Array.from({ length: 60 }, () => {
      const userId = random() < 0.5 ? pick(users) : ''
      const anonymousId = random() < 0.5 ? pick(devices) : ''
      const sessionId = random() < 0.7 ? pick(sessions) : crypto.randomUUID()
      const type = pick(['identify', 'pageview', 'page_view', 'click'])
      const address = userId === '' ? {} : { path: `/of/${userId.length}`, title: userId }
      return {
        userId,
        occurredAt: startedAt + Math.floor(random() * 3_600_000),
        anonymousId,
        sessionId,
        type,
        ...address,
        properties: { email: `mail-${userId}-${anonymousId}@x.test` },
      }
    }),
  )
  return { events, erased, ...modelOf(events, erased) }
}

function modelOf(events: readonly Partial<Event>[], user: string): { own: Set<number>; devices: string[] } {
  const usersOf = (device: string) =>
    new Set(events.flatMap((event) => (event.anonymousId === device && event.userId ? [event.userId] : [])))
  const isHers = (device = '') => device !== '' && usersOf(device).size === 1 && usersOf(device).has(user)
  const hasIds = (event: Partial<Event>) => Boolean(event.userId) || Boolean(event.anonymousId)
  const isOwn = (event: Partial<Event>) => (event.userId ? event.userId === user : isHers(event.anonymousId))
  const own = events.map((event) => {
    if (hasIds(event)) return isOwn(event)
    const beside = events.filter((other) => other.sessionId === event.sessionId && hasIds(other))
    return beside.length > 0 && beside.every(isOwn)
  })
  const devices = new Set(events.flatMap(({ anonymousId }) => (isHers(anonymousId) ? [anonymousId ?? ''] : [])))
  return { own: new Set(own.flatMap((is, n) => (is ? [n] : []))), devices: [...devices] }
}
