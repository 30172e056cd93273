/**
 * Demo traffic for a shop: visits in the order of their beginnings, from the first of the days until now, as many as make the wanted number of
 * events. What comes out depends on the plan alone. Memory is 9 bytes a visitor.
 */
import type { Draft } from '../draft.ts'
import { Calendar, DAY_MS } from './calendar.ts'
import { Random } from './random.ts'
import { sourceAt } from './sources.ts'
import { type Account, visit } from './visit.ts'
import { visitorOf } from './visitors.ts'

export interface TrafficPlan {
  /** The same visitors for the same seed. */
  readonly seed: string
  readonly days: number
  /** Exactly so many. */
  readonly events: number
  /** About so many, if the events suffice for them. */
  readonly visitors: number
  /** Milliseconds since 1970; no event is later. */
  readonly untilMs: number
}

const ACCOUNTS: readonly Account[] = ['none', 'out', 'in']
/** Of a visitor that was not seen yet: whether there is an account is not known. */
const NEW = 255
/** Between two visits of one visitor. */
const PAUSE_MIN_MS = 35 * 60_000
/** Mean age of who comes back, in days since the first visit. */
const RETURN_DAYS = 1.6
const RETURN_TRIES = 8

/** The events of the plan, visit by visit; inside a visit in the order of their times. */
export function* traffic({ seed, days, events, visitors, untilMs }: TrafficPlan): Generator<readonly Draft[], void> {
  const random = new Random(seed, untilMs)
  const calendar = new Calendar(untilMs - days * DAY_MS, untilMs)
  const accounts = new Uint8Array(visitors).fill(NEW)
  const endedMs = new Float64Array(visitors)
  let seen = 0
  let left = events

  /** Somebody who is due back, rather a loyal one; otherwise somebody new, as long as there are some. */
  const nextVisitor = (startMs: number): number => {
    const isNew = seen < visitors && seen <= (visitors * (events - left)) / events
    for (let tries = 0; !isNew && tries < RETURN_TRIES; tries++) {
      const number = seen - 1 - Math.floor(random.exponential((visitors / days) * RETURN_DAYS))
      if (number < 0 || (endedMs[number] as number) + PAUSE_MIN_MS > startMs) continue
      if (visitorOf(seed, number).isLoyal || random.chance(0.35)) return number
    }
    return seen < visitors ? seen : longestAway(endedMs)
  }

  while (left > 0) {
    const startMs = calendar.at((events - left) / events)
    const number = nextVisitor(startMs)
    seen = Math.max(seen, number + 1)
    const visitor = visitorOf(seed, number)
    const account =
      accounts[number] === NEW
        ? visitor.hasAccount
          ? 'out'
          : 'none'
        : (ACCOUNTS[accounts[number] as number] as Account)
    const visited = visit({ random, visitor, account, source: sourceAt(random, startMs), startMs })
    accounts[number] = ACCOUNTS.indexOf(visited.account)
    endedMs[number] = visited.endedMs
    const drafts = cut(visited.drafts, left, new Date(untilMs).toISOString())
    left -= drafts.length
    yield drafts
  }
}

/** Visits that are still going on have no end yet. */
function cut(drafts: readonly Draft[], eventsMax: number, until: string): readonly Draft[] {
  const future = drafts.findIndex(({ timestamp }) => timestamp > until)
  return drafts.slice(0, Math.min(eventsMax, future < 0 ? drafts.length : Math.max(future, 1)))
}

function longestAway(endedMs: Float64Array): number {
  let longest = 0
  for (let number = 1; number < endedMs.length; number++) {
    if ((endedMs[number] as number) < (endedMs[longest] as number)) longest = number
  }
  return longest
}
