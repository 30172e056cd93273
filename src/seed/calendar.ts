/**
 * When people visit the shop: little at night, most in the evening, a little less on Fridays, more with each day, and much on the mornings
 * when the newsletter goes out. The hours of the time that is to be filled have weights; a share of their sum is a moment.
 */

const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** Of the shop's customers, who live in central Europe: hours of UTC. */
const HOURS = [
  0.2, 0.12, 0.08, 0.08, 0.15, 0.35, 0.6, 0.8, 0.9, 1, 1.05, 1.1, 1.05, 0.95, 0.95, 1, 1.1, 1.25, 1.45, 1.6, 1.5, 1.1,
  0.6, 0.35,
]
/** Sunday first. */
const WEEKDAYS = [1.2, 1, 0.95, 0.95, 1, 0.85, 1.05]
const GROWTH_A_DAY = 0.015
const NEWSLETTER_WEEKDAYS = [2, 4]
const NEWSLETTER_HOUR = 7
const NEWSLETTER_HOURS = 6

export class Calendar {
  readonly fromMs: number
  readonly untilMs: number
  /** Sum of the weights of the hours before, and at the end of all. */
  private readonly sums: Float64Array

  /** Times in milliseconds since 1970; `from` lies before `until`. */
  constructor(fromMs: number, untilMs: number) {
    this.fromMs = fromMs
    this.untilMs = untilMs
    const hours = Math.ceil((untilMs - fromMs) / HOUR_MS)
    this.sums = new Float64Array(hours + 1)
    for (let hour = 0; hour < hours; hour++) {
      const startMs = fromMs + hour * HOUR_MS
      const part = Math.min(1, (untilMs - startMs) / HOUR_MS)
      this.sums[hour + 1] = (this.sums[hour] as number) + part * weightAt(startMs, hour / 24)
    }
  }

  /** The moment at a share (0 to 1) of all visits. */
  at(share: number): number {
    const { sums, fromMs, untilMs } = this
    const wanted = share * (sums.at(-1) as number)
    let low = 0
    let high = sums.length - 2
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((sums[middle] as number) <= wanted) low = middle
      else high = middle - 1
    }
    const startMs = fromMs + low * HOUR_MS
    const endMs = Math.min(startMs + HOUR_MS, untilMs)
    const part = (wanted - (sums[low] as number)) / ((sums[low + 1] as number) - (sums[low] as number))
    return Math.floor(startMs + Math.min(part, 1) * (endMs - startMs))
  }
}

/** Whether the newsletter has just gone out. */
export function isNewsletterTime(timeMs: number): boolean {
  const time = new Date(timeMs)
  const hour = time.getUTCHours()
  const isHour = hour >= NEWSLETTER_HOUR && hour < NEWSLETTER_HOUR + NEWSLETTER_HOURS
  return isHour && NEWSLETTER_WEEKDAYS.includes(time.getUTCDay())
}

function weightAt(timeMs: number, day: number): number {
  const time = new Date(timeMs)
  const usual = (HOURS[time.getUTCHours()] as number) * (WEEKDAYS[time.getUTCDay()] as number)
  return usual * (1 + GROWTH_A_DAY * day) * (isNewsletterTime(timeMs) ? 1.5 : 1)
}
