/** A browser on its way through the shop: it opens pages, stays on them, clicks, and each of these is an event at its time. */
import type { Draft } from '../draft.ts'
import { SHOP } from './catalogue.ts'
import type { Random } from './random.ts'
import type { Visitor } from './visitors.ts'

const READING_MEDIAN_MS = 14_000
const READING_SPREAD = 0.9
/** Shorter than the half hour after which a session counts as over. */
const READING_MAX_MS = 20 * 60_000
const MOVE_MEDIAN_MS = 1_800

/** One visit: its events so far, and where it is. */
export class Browser {
  readonly drafts: Draft[] = []
  readonly random: Random
  readonly visitor: Visitor
  /** Signed in: events name the user. */
  isSignedIn: boolean
  /** Milliseconds since 1970. */
  nowMs: number
  private readonly sessionId: string
  private url = ''
  private title = ''
  private referrer: string

  constructor(options: {
    readonly random: Random
    readonly visitor: Visitor
    readonly isSignedIn: boolean
    readonly nowMs: number
    /** Of the entry page. */
    readonly referrer: string
  }) {
    this.random = options.random
    this.visitor = options.visitor
    this.isSignedIn = options.isSignedIn
    this.nowMs = options.nowMs
    this.referrer = options.referrer
    this.sessionId = options.random.uuid()
  }

  /** Opens a page of the shop. `query` stays in its address. */
  open(path: string, title: string, properties: Draft['properties'] = {}, query = ''): void {
    if (this.url !== '') {
      this.referrer = this.url
      this.nowMs += this.random.between(250, 900)
    }
    this.url = `${SHOP}${path}${query === '' ? '' : `?${query}`}`
    this.title = `${title} – Shop`
    this.tell('pageview', properties)
  }

  /** Looks at the page for a while; now and then that shows in a scroll event. */
  read(): void {
    const stay = Math.min(this.random.around(READING_MEDIAN_MS, READING_SPREAD), READING_MAX_MS)
    if (this.random.chance(0.45)) {
      this.nowMs += Math.round(stay * 0.6)
      this.tell('scroll', { scrollDepth: this.random.pick([25, 25, 50, 50, 75, 90, 100]) })
      this.nowMs += Math.round(stay * 0.4)
    } else {
      this.nowMs += Math.round(stay)
    }
  }

  /** Clicks on what has this CSS selector. */
  click(selector: string): void {
    const { width, height } = this.visitor.device
    this.nowMs += Math.round(this.random.around(MOVE_MEDIAN_MS, 0.6))
    const x = Math.round(width * (0.1 + 0.8 * this.random.next()))
    const y = Math.round(height * (0.15 + 2.2 * this.random.next() ** 2))
    this.tell('click', { selector, position: { x, y } })
  }

  /** Fills in a form. */
  fill(formId: string, fields: number): void {
    this.nowMs += Math.round(this.random.around(4_000 * fields, 0.4))
    this.tell('form', { formId, fieldInteractions: fields + this.random.between(0, 2) })
  }

  /** Tells an event of the page that is open. */
  tell(type: string, properties: Draft['properties']): void {
    const { visitor, random } = this
    this.drafts.push({
      type,
      timestamp: new Date(this.nowMs).toISOString(),
      event_id: random.uuid(),
      session_id: this.sessionId,
      anonymous_id: visitor.anonymousId,
      ...(this.isSignedIn ? { user_id: visitor.userId } : {}),
      properties,
      context: {
        ip: visitor.ip,
        user_agent: visitor.device.userAgent,
        locale: visitor.locale,
        page_url: this.url,
        page_title: this.title,
        ...(this.referrer === '' ? {} : { referrer: this.referrer }),
        ...{ screen: { width: visitor.device.width, height: visitor.device.height } },
      },
    })
  }
}
